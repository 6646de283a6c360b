//! What user space finds out about processes: from /proc, the cgroup tree, container runtimes, the
//! Kubernetes API, systemd and SPIRE. Every answer becomes an event; nothing here decides who owns what.

pub mod cgroup;
mod cri;
mod docker;
pub mod executable;
mod kubernetes;
mod link;
pub mod member;
pub mod running;
pub mod sockets;
pub mod sources;
mod spiffe;
mod systemd;
mod watch;

pub use watch::Watch;
