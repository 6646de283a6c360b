//! The shared libraries that a file names (System V gABI, chapter 5, "Dynamic Section").

use crate::{
    Unreadable,
    elf::{Elf, u64_at},
};

/// Libraries named at most.
const MAX_NAMES: usize = 256;

const DT_NEEDED: u64 = 1;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// What a file needs to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// Names of libraries, in order.
    pub libraries: Vec<String>,
    /// Folders in which they are looked for first; `$ORIGIN` is the file's own.
    pub folders: Vec<String>,
}

/// The libraries that `elf` names; none for a static file.
pub fn needed(elf: &Elf<'_>) -> Result<Needed, Unreadable> {
    let mut needed = Needed::default();
    let (Some(table), Some(names)) = (elf.contents(".dynamic")?, elf.contents(".dynstr")?) else {
        return Ok(needed);
    };
    for row in table.chunks_exact(16) {
        let (Some(tag), Some(at)) = (u64_at(row, 0), u64_at(row, 8)) else { continue };
        let Some(name) = usize::try_from(at).ok().and_then(|at| text(&names, at)) else { continue };
        match tag {
            DT_NEEDED if needed.libraries.len() < MAX_NAMES => needed.libraries.push(name),
            DT_RPATH | DT_RUNPATH => {
                needed.folders.extend(name.split(':').take(MAX_NAMES).map(str::to_owned))
            }
            _ => {}
        }
    }
    Ok(needed)
}

fn text(names: &[u8], at: usize) -> Option<String> {
    let rest = names.get(at..)?;
    let name = rest.get(..rest.iter().position(|byte| *byte == 0)?)?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_program_are_named_and_every_prefix_of_it_is_harmless() {
        let file = std::fs::read("/bin/true").unwrap();
        let image = file.as_slice();
        let found = needed(&Elf::parse(&image).unwrap()).unwrap();
        assert!(found.libraries.iter().any(|name| name == "libc.so.6"), "{found:?}");
        for end in (0..file.len()).step_by(97) {
            let part = &file[..end];
            let _ = Elf::parse(&part).map(|elf| needed(&elf));
        }
    }
}
