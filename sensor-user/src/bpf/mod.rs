//! The only module that uses aya: loads the programs, owns their links, reads their events.

pub mod btf;
pub mod hooks;
mod load;
mod memory;
pub mod offsets;
pub mod points;
mod probe;
mod reader;
mod subtree;
mod tables;

pub use aya::{Ebpf, maps::MapError};
pub use load::{AttachState, LoadCost, LoadError, Loaded, RunTime, cgroup_root};
pub use memory::give_back_large_blocks;
pub use probe::{Closed, ProbeLinks, Prober, Scope, layer};
pub use reader::Reader;
pub use subtree::Subtree;
pub use tables::{Losses, Tables};
