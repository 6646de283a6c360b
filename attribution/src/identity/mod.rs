//! Who: processes by generation, and the workload that a cgroup stands for.

pub mod arguments;
pub mod cgroup;
pub mod process;
