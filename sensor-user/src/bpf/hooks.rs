//! The table of kernel programs. Loading, `doctor`, `status` records and the docs are made from it.

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A raw tracepoint.
    RawTracepoint(&'static str),
    /// `connect` and `sendmsg` at the cgroup root.
    CgroupSockAddr,
    /// Packets leaving, at the cgroup root.
    Egress,
    /// Packets arriving, at the cgroup root.
    Ingress,
    /// Entry of a TLS function, attached file by file.
    Uprobe,
    /// Return of a TLS function, attached file by file.
    Uretprobe,
    /// fanotify marks, file by file; no program.
    Fanotify,
}

/// One kernel program.
#[derive(Debug)]
pub struct Hook {
    /// Name of the program, as `bpftool` shows it.
    pub program: &'static str,
    /// Hook family: the stem of its files.
    pub family: &'static str,
    /// Where it goes.
    pub point: Point,
    /// Kernel since which the point exists.
    pub since: &'static str,
    /// Without it the sensor does not start.
    pub required: bool,
    /// What takes its place when it cannot be attached.
    pub fallback: &'static str,
    /// What is not seen without it.
    pub lost: &'static str,
}

/// Every program of the kernel object.
pub const HOOKS: &[Hook] = &[
    Hook {
        program: "kw_fork",
        family: "process",
        point: Point::RawTracepoint("sched_process_fork"),
        since: "4.17",
        required: true,
        fallback: "none",
        lost: "children of processes; no owner could be proven",
    },
    Hook {
        program: "kw_exec",
        family: "process",
        point: Point::RawTracepoint("sched_process_exec"),
        since: "4.17",
        required: true,
        fallback: "none",
        lost: "executables; no owner could be proven",
    },
    Hook {
        program: "kw_exit",
        family: "process",
        point: Point::RawTracepoint("sched_process_exit"),
        since: "4.17",
        required: true,
        fallback: "none",
        lost: "process ends; no owner could be proven",
    },
    Hook {
        program: "kw_connect4",
        family: "connect",
        point: Point::CgroupSockAddr,
        since: "4.17",
        required: true,
        fallback: "none",
        lost: "owners of IPv4 flows",
    },
    Hook {
        program: "kw_connect6",
        family: "connect",
        point: Point::CgroupSockAddr,
        since: "4.17",
        required: false,
        fallback: "none",
        lost: "owners of IPv6 flows",
    },
    Hook {
        program: "kw_sendmsg4",
        family: "connect",
        point: Point::CgroupSockAddr,
        since: "4.18",
        required: false,
        fallback: "none",
        lost: "owners of unconnected IPv4 datagrams (QUIC, DNS)",
    },
    Hook {
        program: "kw_sendmsg6",
        family: "connect",
        point: Point::CgroupSockAddr,
        since: "4.18",
        required: false,
        fallback: "none",
        lost: "owners of unconnected IPv6 datagrams (QUIC, DNS)",
    },
    Hook {
        program: "kw_destroy",
        family: "flow",
        point: Point::RawTracepoint("tcp_destroy_sock"),
        since: "4.16",
        required: false,
        fallback: "none",
        lost: "byte counts and ends of flows",
    },
    Hook {
        program: "kw_egress",
        family: "handshake",
        point: Point::Egress,
        since: "4.10",
        required: true,
        fallback: "none",
        lost: "server names, cleartext requests, and which socket a TLS connection uses",
    },
    Hook {
        program: "kw_ingress",
        family: "dns",
        point: Point::Ingress,
        since: "4.10",
        required: false,
        fallback: "none",
        lost: "names of endpoints contacted without SNI, and the earliest sign of a model call",
    },
    Hook {
        program: "kw_tls_enter",
        family: "tls",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of TLS traffic",
    },
    Hook {
        program: "kw_tls_return",
        family: "tls",
        point: Point::Uretprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of TLS traffic",
    },
    Hook {
        program: "kw_aead_enter",
        family: "aead",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of programs with rustls",
    },
    Hook {
        program: "kw_aead_return",
        family: "aead",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of programs with rustls",
    },
    Hook {
        program: "kw_poly_enter",
        family: "aead",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of programs with rustls on ChaCha20-Poly1305",
    },
    Hook {
        program: "kw_gcm_hash",
        family: "aead",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of programs with rustls and ring",
    },
    Hook {
        program: "kw_gcm_counter_enter",
        family: "aead",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of programs with rustls and ring",
    },
    Hook {
        program: "kw_gcm_counter_return",
        family: "aead",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of programs with rustls and ring",
    },
    Hook {
        program: "kw_go_enter",
        family: "go",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of Go programs",
    },
    Hook {
        program: "kw_go_return",
        family: "go",
        point: Point::Uprobe,
        since: "5.15",
        required: false,
        fallback: "flows by SNI and DNS only",
        lost: "credentials, models and tokens of Go programs",
    },
    Hook {
        program: "credential_file",
        family: "credential_file",
        point: Point::Fanotify,
        since: "5.1",
        required: false,
        fallback: "environment only",
        lost: "files that credentials were read from",
    },
];
