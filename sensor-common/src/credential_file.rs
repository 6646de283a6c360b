//! Events, tables and limits of the credential file hook.

use crate::{Header, Task, layout};

/// Longest file name that is watched or told, bytes.
pub const MAX_NAME: usize = 64;
/// Components of a path that are told, from the file upwards.
pub const MAX_COMPONENTS: usize = 12;
/// File names watched at one time.
pub const MAX_NAMES: u32 = 4096;
/// Files watched by device and inode at one time.
pub const MAX_FILES: u32 = 16_384;
/// File systems watched whole at one time.
pub const MAX_DEVICES: u32 = 1024;
/// Folders whose `.json` files are watched, by their name.
pub const MAX_FOLDERS: u32 = 64;
/// Beginning of file names that are watched whatever follows.
pub const PREFIX: [u8; 5] = *b".env.";
/// End of file names that are watched in certain folders.
pub const SUFFIX: [u8; 5] = *b".json";

/// Words of the filter for names, inodes and devices; each a power of two.
pub const NAME_WORDS: usize = 64;
/// As [`NAME_WORDS`].
pub const INODE_WORDS: usize = 1024;
/// As [`NAME_WORDS`].
pub const DEVICE_WORDS: usize = 16;

/// How a file was opened, bits of [`Open::mode`].
pub mod mode {
    /// For reading.
    pub const READ: u32 = 1;
    /// For writing.
    pub const WRITE: u32 = 2;
}

layout! {
    /// A file name, NUL-padded.
    pub struct Name {
        /// The bytes.
        pub bytes: [u8; MAX_NAME],
    }

    /// A file.
    pub struct File {
        /// Device, kernel encoding (`major << 20 | minor`).
        pub device: u64,
        /// Inode number.
        pub inode: u64,
    }

    /// What is watched, as bit sets: a bit that is not set spares the look into the tables. User space
    /// sets a bit before the entry it stands for.
    pub struct Filter {
        /// By [`name_bit`].
        pub names: [u64; NAME_WORDS],
        /// By the low bits of the inode number.
        pub inodes: [u64; INODE_WORDS],
        /// By the low bits of the device number.
        pub devices: [u64; DEVICE_WORDS],
    }

    /// A process opened a watched file.
    pub struct Open {
        /// Common part.
        pub header: Header,
        /// Who opened it.
        pub task: Task,
        /// The file.
        pub file: File,
        /// Bits of [`mode`].
        pub mode: u32,
        /// Padding.
        pub pad: u32,
        /// Components used in `path`.
        pub components: u32,
        /// 1 when the first component is not the root of its file system.
        pub cut: u32,
        /// Path below the root of its file system: the file first, then the folder it is in, and so on.
        pub path: [Name; MAX_COMPONENTS],
    }
}

/// The first eight bytes of a name as a number, the first one lowest; shorter names are NUL-padded.
pub const fn head(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let mut at = 0;
    while at < name.len() && at < 8 {
        bytes[at] = name[at];
        at += 1;
    }
    u64::from_le_bytes(bytes)
}

/// The bit of [`Filter::names`] of a name with this length and [`head`].
pub const fn name_bit(len: u32, head: u64) -> usize {
    let mixed = (head ^ ((len as u64) << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 52) as usize & (NAME_WORDS * 64 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_has_the_same_bit_and_its_length_counts() {
        assert_eq!(head(b"auth.json"), u64::from_le_bytes(*b"auth.jso"));
        assert_eq!(head(b".env"), u64::from_le_bytes(*b".env\0\0\0\0"));
        assert!(name_bit(9, head(b"auth.json")) < NAME_WORDS * 64);
        assert_ne!(name_bit(9, head(b"auth.json")), name_bit(8, head(b"auth.jso")));
    }

    #[test]
    fn filters_are_indexed_without_a_division() {
        for words in [NAME_WORDS, INODE_WORDS, DEVICE_WORDS] {
            assert!(words.is_power_of_two());
        }
    }
}
