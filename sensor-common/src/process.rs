//! Events of the process hooks.

use crate::{Generation, Header, Task, layout};

/// Longest executable path kept, bytes.
pub const MAX_PATH: usize = 256;
/// Most argument bytes kept, NUL-separated.
pub const MAX_ARGS: usize = 1024;
/// Rooms for arguments in an event, smallest that fits is used, bytes.
pub const ARGS_SIZES: [usize; 3] = [128, 512, MAX_ARGS];

layout! {
    /// A new process (not a thread).
    pub struct Fork {
        /// Common part.
        pub header: Header,
        /// The process that called fork or clone.
        pub parent: Generation,
        /// The new process.
        pub child: Generation,
    }

    /// A process runs a new program.
    pub struct Exec {
        /// Common part; `data_len` bytes of the arguments follow, NUL-separated, and none when they could not be read.
        pub header: Header,
        /// The process.
        pub task: Task,
        /// Its parent at this moment.
        pub parent: Generation,
        /// Device of the executable, kernel encoding (major << 20 | minor).
        pub exe_dev: u64,
        /// Inode of the executable.
        pub exe_ino: u64,
        /// Bytes used in `path`, 0 when it could not be read.
        pub path_len: u32,
        /// Bytes of arguments the process has.
        pub args_total: u32,
        /// Path given to execve, or of the interpreter for a script.
        pub path: [u8; MAX_PATH],
    }

    /// A process ended.
    pub struct Exit {
        /// Common part.
        pub header: Header,
        /// The process.
        pub process: Generation,
    }
}
