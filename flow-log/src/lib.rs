//! The durable flow log: records of one host, in order, as JSON lines in checksummed zstd frames.
//!
//! A segment is a plain `NNNNNNNN.jsonl.zst` file: `zstdcat` shows its records. Before each zstd frame stands a
//! skippable frame (RFC 8878 3.1.2) with what the frame holds, its checksums and the hash of the frame before it
//! ([`frame`]). A full segment ends with an index of its frames.

#![forbid(unsafe_code)]

pub mod files;
pub mod frame;
mod line;
mod lock;
mod reader;
mod segment;
pub mod storage;
mod time;
pub mod verify;
mod walk;
pub mod writer;

pub use frame::{Boot, Key};
pub use line::{Line, Position};
pub use reader::{
    Backwards, Damage, Follow, Lines, Missing, Range, ReadError, Reader, read_file, read_stream,
};
