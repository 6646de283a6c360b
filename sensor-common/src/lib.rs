//! Layout of everything that crosses the kernel boundary: events, map keys and values, settings.
//!
//! All types are `repr(C)` with explicit padding, no `bool`, no enum and no pointer-sized field, so
//! every bit pattern is a valid value. Kernel and user halves are always built together from this
//! crate; [`ABI`] in each event header catches a mixed build. One file per hook family, with the
//! stem of its kernel file.
#![no_std]
#![forbid(unsafe_code)]

pub mod cleartext;
pub mod connect;
pub mod dns;
pub mod flow;
pub mod handshake;
pub mod process;
pub mod tls;

/// Version of this layout, checked at the user-space boundary.
pub const ABI: u16 = 2;

/// Derives the bounds-checked reads of user space on a layout type.
macro_rules! layout {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        #[cfg_attr(
            feature = "user",
            derive(Debug, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* }
    )*};
}
pub(crate) use layout;

/// What an event is, and the index of its counters.
pub mod kind {
    /// A new process ([`crate::process::Fork`]).
    pub const FORK: u16 = 0;
    /// A process changed its program ([`crate::process::Exec`]).
    pub const EXEC: u16 = 1;
    /// The last thread of a process ended ([`crate::process::Exit`]).
    pub const EXIT: u16 = 2;
    /// A connect to an address that a model host is known to have ([`crate::connect::Connect`]).
    pub const CONNECT: u16 = 3;
    /// First payload of a flow ([`crate::handshake::Payload`]).
    pub const PAYLOAD: u16 = 4;
    /// A flow of which payload was reported ended ([`crate::flow::Close`]).
    pub const CLOSE: u16 = 5;
    /// A DNS answer ([`crate::dns::Answer`]).
    pub const DNS: u16 = 6;
    /// Plaintext of a TLS connection ([`crate::tls::Data`]).
    pub const TLS: u16 = 7;
    /// What a cleartext connection carried ([`crate::cleartext::Data`]).
    pub const CLEARTEXT: u16 = 8;
    /// How many kinds there are.
    pub const COUNT: u32 = 9;
    /// Names in records and metrics, by kind.
    pub const NAMES: [&str; COUNT as usize] =
        ["fork", "exec", "exit", "connect", "payload", "close", "dns", "tls", "cleartext"];
}

/// Why the kernel side could not deliver something.
pub mod cause {
    /// The ring buffer had no room.
    pub const RING_FULL: u32 = 0;
    /// Memory of the observed process or packet could not be read.
    pub const READ_FAULT: u32 = 1;
    /// A kernel table was full or out of memory.
    pub const TABLE_FULL: u32 = 2;
    /// More bytes than the named limit of one event sequence; the rest was not copied.
    pub const OVER_LIMIT: u32 = 3;
    /// How many causes there are.
    pub const COUNT: u32 = 4;
    /// Names in records and metrics, by cause.
    pub const NAMES: [&str; COUNT as usize] = ["ring_full", "read_fault", "table_full", "over_limit"];
}

layout! {
    /// First bytes of every event.
    pub struct Header {
        /// One of [`kind`].
        pub kind: u16,
        /// [`ABI`].
        pub abi: u16,
        /// Bytes of variable data that follow the fixed part.
        pub data_len: u32,
        /// Nanoseconds of `CLOCK_BOOTTIME`.
        pub time_ns: u64,
    }

    /// A process generation: the pair is never used again until reboot.
    pub struct Generation {
        /// Process id in the initial pid namespace (kernel: tgid).
        pub tgid: u32,
        /// Padding.
        pub pad: u32,
        /// Start of the group leader, nanoseconds of `CLOCK_BOOTTIME`; 0 when the kernel has no BTF.
        pub start_ns: u64,
    }

    /// Who did something, taken in the context of the act.
    pub struct Task {
        /// The process.
        pub process: Generation,
        /// Its cgroup v2 id (inode number of the cgroup directory).
        pub cgroup_id: u64,
        /// Real user id in the initial user namespace.
        pub uid: u32,
        /// The thread.
        pub tid: u32,
        /// Name of the thread, NUL-padded.
        pub comm: [u8; 16],
    }

    /// Counters of one event kind, per CPU. `produced = delivered + lost` for each kind, where
    /// delivered is counted by the reader and lost is the sum over causes except `OVER_LIMIT`,
    /// which counts shortened sequences.
    pub struct Counters {
        /// Events the programs wanted to send.
        pub produced: u64,
        /// Events not sent, by [`cause`].
        pub lost: [u64; cause::COUNT as usize],
    }
}

/// Names of the frozen globals that user space sets before load.
pub mod setting {
    /// `task_struct.start_boottime`, byte offset.
    pub const OFF_TASK_START: &str = "OFF_TASK_START";
    /// `task_struct.group_leader`.
    pub const OFF_TASK_LEADER: &str = "OFF_TASK_LEADER";
    /// `task_struct.real_parent`.
    pub const OFF_TASK_PARENT: &str = "OFF_TASK_PARENT";
    /// `task_struct.tgid`.
    pub const OFF_TASK_TGID: &str = "OFF_TASK_TGID";
    /// `task_struct.pid`.
    pub const OFF_TASK_PID: &str = "OFF_TASK_PID";
    /// `task_struct.signal`.
    pub const OFF_TASK_SIGNAL: &str = "OFF_TASK_SIGNAL";
    /// `signal_struct.live`.
    pub const OFF_SIGNAL_LIVE: &str = "OFF_SIGNAL_LIVE";
    /// `task_struct.mm`.
    pub const OFF_TASK_MM: &str = "OFF_TASK_MM";
    /// `mm_struct.arg_start`.
    pub const OFF_MM_ARG_START: &str = "OFF_MM_ARG_START";
    /// `mm_struct.arg_end`.
    pub const OFF_MM_ARG_END: &str = "OFF_MM_ARG_END";
    /// `linux_binprm.file`.
    pub const OFF_BPRM_FILE: &str = "OFF_BPRM_FILE";
    /// `linux_binprm.interp`.
    pub const OFF_BPRM_INTERP: &str = "OFF_BPRM_INTERP";
    /// `file.f_inode`.
    pub const OFF_FILE_INODE: &str = "OFF_FILE_INODE";
    /// `inode.i_ino`.
    pub const OFF_INODE_INO: &str = "OFF_INODE_INO";
    /// `inode.i_sb`.
    pub const OFF_INODE_SB: &str = "OFF_INODE_SB";
    /// `super_block.s_dev`.
    pub const OFF_SB_DEV: &str = "OFF_SB_DEV";
    /// `sock.__sk_common.skc_cookie`.
    pub const OFF_SOCK_COOKIE: &str = "OFF_SOCK_COOKIE";
    /// `tcp_sock.bytes_sent`.
    pub const OFF_TCP_SENT: &str = "OFF_TCP_SENT";
    /// `tcp_sock.bytes_retrans`.
    pub const OFF_TCP_RETRANS: &str = "OFF_TCP_RETRANS";
    /// `tcp_sock.bytes_received`.
    pub const OFF_TCP_RECEIVED: &str = "OFF_TCP_RECEIVED";
    /// `task_struct.files`.
    pub const OFF_TASK_FILES: &str = "OFF_TASK_FILES";
    /// `files_struct.fdt`.
    pub const OFF_FILES_TABLE: &str = "OFF_FILES_TABLE";
    /// `fdtable.max_fds`.
    pub const OFF_TABLE_SIZE: &str = "OFF_TABLE_SIZE";
    /// `fdtable.fd`.
    pub const OFF_TABLE_FILES: &str = "OFF_TABLE_FILES";
    /// `file.private_data`.
    pub const OFF_FILE_PRIVATE: &str = "OFF_FILE_PRIVATE";
    /// `socket.file`.
    pub const OFF_SOCKET_FILE: &str = "OFF_SOCKET_FILE";
    /// `socket.sk`.
    pub const OFF_SOCKET_SOCK: &str = "OFF_SOCKET_SOCK";
    /// 1 where the running task may be read through typed pointers, else 0.
    pub const TYPED_TASK: &str = "TYPED_TASK";
    /// Most parts that the plaintext of one call is sent in; at most [`crate::tls::MAX_CHUNKS`].
    pub const MAX_PARTS: &str = "MAX_PARTS";
    /// Non-zero turns the kernel-side diagnostics on.
    pub const KERNEL_LOG: &str = "KERNEL_LOG";
    /// Id of the only cgroup that is watched, u64; 0 for all.
    pub const SCOPE_ID: &str = "SCOPE_ID";
    /// Cgroups above it.
    pub const SCOPE_LEVEL: &str = "SCOPE_LEVEL";
}
