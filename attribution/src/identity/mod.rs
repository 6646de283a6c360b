//! Who: processes by generation, and the workload that a cgroup stands for.

pub mod answer;
pub mod arguments;
pub mod cgroup;
pub mod hierarchy;
pub mod process;
pub mod workload;
