//! What user space finds out about processes: from /proc and the cgroup tree. Every answer becomes an
//! event; nothing here decides who owns what.

pub mod cgroup;
pub mod executable;
pub mod running;
pub mod sockets;
