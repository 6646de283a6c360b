//! The table of kernel programs. Loading, `doctor`, `status` records and the docs are made from it.

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Entry of a kernel function, by BPF trampoline.
    Fentry(&'static str),
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
    /// What takes its place when it cannot be attached; the name of a program when another row does.
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
        program: "kw_file_open",
        family: "credential_file",
        point: Point::Fentry("security_file_open"),
        since: "5.5",
        required: false,
        fallback: "kw_open_exit",
        lost: "credential files opened by io_uring, and by 32-bit programs",
    },
    Hook {
        program: "kw_open_exit",
        family: "credential_file",
        point: Point::RawTracepoint("sys_exit"),
        since: "5.15",
        required: false,
        fallback: "environment only",
        lost: "files that credentials were read from",
    },
];

impl Hook {
    /// The row that takes its place when it cannot be attached.
    pub fn stand_in(&self) -> Option<&'static Hook> {
        HOOKS.iter().find(|other| other.program == self.fallback)
    }

    /// Whether it is only there to take the place of another row.
    pub fn is_stand_in(&self) -> bool {
        HOOKS.iter().any(|other| other.fallback == self.program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_of_the_same_family_and_comes_after() {
        for (at, hook) in HOOKS.iter().enumerate() {
            if let Some(stand_in) = hook.stand_in() {
                let place = HOOKS.iter().position(|other| other.program == stand_in.program);
                assert!(place > Some(at) && stand_in.family == hook.family, "{}", hook.program);
                assert!(stand_in.is_stand_in() && !hook.is_stand_in());
            }
        }
    }
}
