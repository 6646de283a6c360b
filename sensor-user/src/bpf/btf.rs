//! Byte offsets of kernel structure members, from the running kernel's BTF.
//!
//! Format: Documentation/bpf/btf.rst. Only what offsets need is read: structures, unions and the types
//! that qualify them. The kernel made the bytes, but every index and length is checked all the same.

use std::{collections::HashMap, path::Path};

use thiserror::Error;

/// Where the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
/// Nesting of anonymous members that is followed.
const MAX_DEPTH: u32 = 8;

/// Why an offset is not known.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The kernel does not show its types.
    #[error(
        "cannot read kernel type information {path}: {source}; use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Unreadable {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The bytes are not BTF.
    #[error("kernel type information is malformed at byte {at}")]
    Malformed {
        /// Position.
        at: usize,
    },
    /// This kernel has no such member.
    #[error("this kernel has no {structure}.{member}")]
    Missing {
        /// Structure.
        structure: &'static str,
        /// Member.
        member: &'static str,
    },
}

struct Member {
    name: u32,
    type_id: u32,
    bits: u32,
}

/// Parsed structures of one kernel.
pub struct Btf {
    strings: Vec<u8>,
    structs: HashMap<u32, Vec<Member>>,
    by_name: HashMap<String, u32>,
}

impl Btf {
    /// Reads the BTF of the running kernel, keeping only structures called one of `names` and what
    /// their anonymous members lead to.
    pub fn of_kernel(path: &Path, names: &[&str]) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path)
            .map_err(|source| BtfError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(&bytes, names)
    }

    /// Parses raw BTF.
    pub fn parse(bytes: &[u8], names: &[&str]) -> Result<Self, BtfError> {
        let half = |at: usize| {
            bytes.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]])).ok_or(BtfError::Malformed { at })
        };
        let word = |at: usize| {
            bytes
                .get(at..at.saturating_add(4))
                .map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
                .ok_or(BtfError::Malformed { at })
        };
        if half(0)? != MAGIC || word(4)? as usize != HEADER {
            return Err(BtfError::Malformed { at: 0 });
        }
        let types_at = HEADER + word(8)? as usize;
        let types_end = types_at.saturating_add(word(12)? as usize);
        let strings_at = HEADER + word(16)? as usize;
        let strings_end = strings_at.saturating_add(word(20)? as usize);
        let strings = bytes.get(strings_at..strings_end).ok_or(BtfError::Malformed { at: strings_at })?;

        let mut structs = HashMap::new();
        let mut by_name = HashMap::new();
        let (mut at, mut id) = (types_at, 0u32);
        while at < types_end {
            id += 1;
            let (name, info) = (word(at)?, word(at + 4)?);
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let body = at + 12;
            if kind == KIND_STRUCT || kind == KIND_UNION {
                let text = string(strings, name);
                // Anonymous ones may be nested in a wanted one; they are few next to all structures.
                if text.is_empty() || names.contains(&text) {
                    let bitfields = info >> 31 == 1;
                    let mut members = Vec::with_capacity(count);
                    for index in 0..count {
                        let m = body + index * 12;
                        let offset = word(m + 8)?;
                        members.push(Member {
                            name: word(m)?,
                            type_id: word(m + 4)?,
                            bits: if bitfields { offset & 0xff_ffff } else { offset },
                        });
                    }
                    structs.insert(id, members);
                    if kind == KIND_STRUCT && !text.is_empty() {
                        by_name.insert(text.to_owned(), id);
                    }
                }
            }
            at = body + tail(kind, count).ok_or(BtfError::Malformed { at })?;
        }
        Ok(Self { strings: strings.to_vec(), structs, by_name })
    }

    /// Byte offset of `structure.member`, looking into anonymous structures and unions.
    pub fn offset(&self, structure: &'static str, member: &'static str) -> Result<u32, BtfError> {
        let missing = BtfError::Missing { structure, member };
        let Some(id) = self.by_name.get(structure) else { return Err(missing) };
        self.find(*id, member, 0).map(|bits| bits / 8).ok_or(missing)
    }

    fn find(&self, id: u32, wanted: &str, depth: u32) -> Option<u32> {
        if depth > MAX_DEPTH {
            return None;
        }
        let members = self.structs.get(&id)?;
        members.iter().find_map(|member| match string(&self.strings, member.name) {
            "" => self.find(member.type_id, wanted, depth + 1).map(|bits| member.bits + bits),
            name => (name == wanted).then_some(member.bits),
        })
    }
}

fn string(strings: &[u8], at: u32) -> &str {
    let rest = strings.get(at as usize..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

/// Bytes after the common part of a type of this kind.
fn tail(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,          // int, var, decl tag
        2 | 7..=12 | 16 | 18 => 0, // pointer, fwd, typedef, qualifiers, func, float, type tag
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12, // and datasec, enum64
        6 | 13 => count * 8,                              // enum, func proto
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let strings = b"\0task\0pid\0inner\0file\0";
        let mut types: Vec<u32> = vec![0, 1 << 24, 4, 32]; // 1: int
        // 2: anonymous union { inner } at bit 0
        types.extend([0, 5 << 24 | 1, 4, 10, 1, 0]);
        // 3: struct task { pid @ 64 bits; <anonymous 2> @ 128 bits }
        types.extend([1, 4 << 24 | 2, 20, 6, 1, 64, 0, 2, 128]);
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        for word in [HEADER as u32, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        types.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_are_found_also_inside_anonymous_unions() {
        let btf = Btf::parse(&sample(), &["task"]).unwrap();
        assert_eq!(btf.offset("task", "pid").unwrap(), 8);
        assert_eq!(btf.offset("task", "inner").unwrap(), 16);
        assert_eq!(btf.offset("task", "none").unwrap_err().to_string(), "this kernel has no task.none");
    }

    #[test]
    fn every_prefix_of_type_information_is_refused() {
        let bytes = sample();
        for end in 0..bytes.len() - 1 {
            assert!(Btf::parse(&bytes[..end], &["task"]).is_err(), "prefix of {end} bytes");
        }
    }
}
