//! Which kernel structure members the programs read, and where this kernel has them.

use sensor_common::setting;

use super::btf::{Btf, BtfError};

/// A frozen global of the kernel object and the member whose byte offset it holds.
pub struct Offset {
    /// Global.
    pub setting: &'static str,
    structure: &'static str,
    member: &'static str,
}

const fn offset(setting: &'static str, structure: &'static str, member: &'static str) -> Offset {
    Offset { setting, structure, member }
}

/// Every member the programs read.
pub const OFFSETS: &[Offset] = &[
    offset(setting::OFF_TASK_START, "task_struct", "start_boottime"),
    offset(setting::OFF_TASK_LEADER, "task_struct", "group_leader"),
    offset(setting::OFF_TASK_PARENT, "task_struct", "real_parent"),
    offset(setting::OFF_TASK_TGID, "task_struct", "tgid"),
    offset(setting::OFF_TASK_PID, "task_struct", "pid"),
    offset(setting::OFF_TASK_SIGNAL, "task_struct", "signal"),
    offset(setting::OFF_SIGNAL_LIVE, "signal_struct", "live"),
    offset(setting::OFF_TASK_MM, "task_struct", "mm"),
    offset(setting::OFF_MM_ARG_START, "mm_struct", "arg_start"),
    offset(setting::OFF_MM_ARG_END, "mm_struct", "arg_end"),
    offset(setting::OFF_BPRM_FILE, "linux_binprm", "file"),
    offset(setting::OFF_BPRM_INTERP, "linux_binprm", "interp"),
    offset(setting::OFF_FILE_INODE, "file", "f_inode"),
    offset(setting::OFF_INODE_INO, "inode", "i_ino"),
    offset(setting::OFF_INODE_SB, "inode", "i_sb"),
    offset(setting::OFF_SB_DEV, "super_block", "s_dev"),
    // `__sk_common` is the first member of `struct sock`.
    offset(setting::OFF_SOCK_COOKIE, "sock_common", "skc_cookie"),
    offset(setting::OFF_TCP_SENT, "tcp_sock", "bytes_sent"),
    offset(setting::OFF_TCP_RETRANS, "tcp_sock", "bytes_retrans"),
    offset(setting::OFF_TCP_RECEIVED, "tcp_sock", "bytes_received"),
];

/// The offsets of this kernel, by global.
pub fn of_kernel() -> Result<Vec<(&'static str, u32)>, BtfError> {
    let names: Vec<&str> = OFFSETS.iter().map(|offset| offset.structure).collect();
    let btf = Btf::of_kernel(std::path::Path::new(super::btf::VMLINUX), &names)?;
    OFFSETS.iter().map(|o| btf.offset(o.structure, o.member).map(|bytes| (o.setting, bytes))).collect()
}
