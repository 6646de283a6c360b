//! What enters attribution: kernel events, already checked, and what user space found out about them.
//!
//! Times are nanoseconds of `CLOCK_BOOTTIME`; [`Event::Clock`] ties them to the calendar. A run that is
//! given the same events again gives the same records again.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use crate::credential::Found;
use crate::identity::answer::{Answer, Source, SourceState};
use crate::recording::Decoded;

/// A process generation. The pair names one process until reboot; a pid alone never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start, nanoseconds of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
}

/// Who did something, as the kernel saw it at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Task {
    /// The process.
    pub process: ProcessKey,
    /// Cgroup v2 id.
    pub cgroup_id: u64,
    /// Real user id.
    pub uid: u32,
    /// Name of the thread.
    pub comm: String,
}

/// A cgroup: the inode of its folder, in one hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct CgroupKey {
    /// Number of the hierarchy, as in /proc/PID/cgroup; 0 is cgroup v2.
    pub hierarchy: u32,
    /// Inode; in cgroup v2 the cgroup id.
    pub id: u64,
}

/// A file by device and inode; a path never identifies one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct FileId {
    /// Device, kernel encoding.
    pub device: u64,
    /// Inode.
    pub inode: u64,
}

/// Transport protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A flow, named by its socket cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowInfo {
    /// Socket cookie.
    pub cookie: u64,
    /// Who connected.
    pub task: Task,
    /// When.
    pub opened_ns: u64,
    /// Remote end.
    pub remote: SocketAddr,
    /// Local end, once known.
    pub local: Option<SocketAddr>,
    /// Transport.
    pub protocol: Protocol,
}

/// What the first bytes of a payload look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// A TLS handshake record.
    Tls,
    /// A cleartext HTTP/1 request.
    Http,
    /// A QUIC long-header packet.
    Quic,
    /// Something else, on a flow to an address of a model host.
    Other,
}

/// Direction of plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Written by the process.
    Write,
    /// Read by the process.
    Read,
}

/// Name of a TLS connection: 16 bytes of its client random, or of its object and process.
pub type Handle = [u8; 16];

/// Bytes from a process or its socket: wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// A copy of `bytes`.
    pub fn copy(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// As text of base64. Only what [`crate::recording::recordable`] lets through is ever written.
impl Serialize for Plaintext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Plaintext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        BASE64.decode(text.as_bytes()).map(|bytes| Self(Zeroizing::new(bytes))).map_err(D::Error::custom)
    }
}

/// A process as found in /proc or in an exec event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessImage {
    /// Path of the executable.
    pub exe: String,
    /// The executable itself.
    pub file: FileId,
    /// Name of the main thread.
    pub comm: String,
    /// Arguments, as given; secrets in them are replaced before they are kept.
    pub args: Vec<String>,
}

/// What is known of the TLS library of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TlsLibrary {
    /// File name of the library or executable.
    pub name: String,
    /// Its family and how its functions were found, such as `openssl.exported_symbol`.
    pub method: String,
    /// Why its plaintext is not read; empty when it is.
    pub reason: String,
}

/// Who opened a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opener {
    /// The kernel said so at the act.
    Exact(Task),
    /// Told afterwards, by process id.
    Pid {
        /// Process id in the initial pid namespace.
        pid: u32,
        /// The file was opened after this.
        after_ns: u64,
        /// Start of the process that has this id now, nanoseconds, and the resolution of it; nothing when
        /// there is none.
        started: Option<(u64, u64)>,
    },
}

/// How a file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Only for reading.
    Read,
    /// Only for writing.
    Write,
    /// For both.
    ReadWrite,
    /// For writing; whether for reading, too, is not known.
    Writable,
}

impl Access {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read_write",
            Self::Writable => "writable",
        }
    }
}

/// What kind of place a credential file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Store {
    /// A file like any other.
    #[default]
    File,
    /// A secret or token volume of a pod.
    KubernetesSecret,
    /// A secret of a Docker service.
    DockerSecret,
    /// `$CREDENTIALS_DIRECTORY` of a unit.
    SystemdCredential,
}

/// A credential file that was opened, with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OpenedFile {
    /// The file.
    pub id: FileId,
    /// Its path as the opener sees it, as far as known.
    pub path: String,
    /// What kind of place it is.
    pub store: Store,
    /// The client or platform it belongs to.
    pub owner: String,
    /// The credentials in it.
    pub found: Vec<Found>,
    /// Why it was not read; empty when it was.
    pub unread: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, nanoseconds.
    Clock {
        /// The difference.
        offset_ns: i64,
    },
    /// A process made another.
    Fork {
        /// When.
        time_ns: u64,
        /// Maker.
        parent: ProcessKey,
        /// New process.
        child: ProcessKey,
    },
    /// A process runs a new program.
    Exec {
        /// When.
        time_ns: u64,
        /// The process.
        task: Task,
        /// Its parent.
        parent: ProcessKey,
        /// The program.
        image: ProcessImage,
    },
    /// A process ended.
    Exit {
        /// When.
        time_ns: u64,
        /// The process.
        process: ProcessKey,
    },
    /// A process that ran before the sensor, from /proc. Its start is known to one clock tick.
    Running {
        /// Process id.
        pid: u32,
        /// Start, nanoseconds, rounded down to `tick_ns`.
        start_ns: u64,
        /// Resolution of `start_ns`.
        tick_ns: u64,
        /// Process id of the parent.
        parent: u32,
        /// Real user id.
        uid: u32,
        /// The program.
        image: ProcessImage,
        /// Cgroup path.
        cgroup: String,
    },
    /// The path of a cgroup.
    Cgroup {
        /// Cgroup v2 id.
        id: u64,
        /// Path below the hierarchy's root.
        path: String,
    },
    /// A socket that was open before the sensor started.
    Existing {
        /// The flow; the task is who holds it, with an unknown process when several do.
        flow: FlowInfo,
    },
    /// A connect to an address of a model host.
    Connect {
        /// When.
        time_ns: u64,
        /// The flow.
        flow: FlowInfo,
    },
    /// Part of the first payload of a flow.
    Payload {
        /// When.
        time_ns: u64,
        /// The flow.
        flow: FlowInfo,
        /// What it looks like.
        shape: Shape,
        /// Position of `bytes`.
        offset: u32,
        /// Payload.
        bytes: Plaintext,
    },
    /// A flow ended.
    Close {
        /// When.
        time_ns: u64,
        /// The flow.
        flow: FlowInfo,
        /// Name of its TLS connection, if a ClientHello was seen.
        connection: Option<Handle>,
        /// Payload bytes sent.
        sent: u64,
        /// Payload bytes received.
        received: u64,
    },
    /// A DNS answer.
    Dns {
        /// When.
        time_ns: u64,
        /// Cgroup of the socket that asked.
        cgroup_id: u64,
        /// Process that asked, when its socket was seen to connect.
        process: Option<ProcessKey>,
        /// The message.
        message: Vec<u8>,
    },
    /// Plaintext of one TLS read or write, or part of it.
    Tls {
        /// When.
        time_ns: u64,
        /// Who called.
        task: Task,
        /// The connection.
        connection: Handle,
        /// Whether `connection` is a client random (else an object address).
        by_random: bool,
        /// Socket cookie, 0 when unbound.
        cookie: u64,
        /// Direction.
        direction: Direction,
        /// Bytes of this direction that the client side moved before this part. A jump is what was lost
        /// or not copied.
        position: u64,
        /// What read it, as [`Event::Probed`] names it.
        probe: u32,
        /// Plaintext.
        bytes: Plaintext,
    },
    /// A packet of a cleartext connection whose first payload was told, or part of it; again and in any order.
    Cleartext {
        /// When.
        time_ns: u64,
        /// Socket cookie.
        cookie: u64,
        /// Direction.
        direction: Direction,
        /// Payload bytes of this direction before this part, modulo 2^32.
        position: u32,
        /// Payload.
        bytes: Plaintext,
    },
    /// The functions of a TLS library in a file are probed.
    Probed {
        /// Number of the library in this run of the sensor.
        probe: u32,
        /// The library.
        library: TlsLibrary,
    },
    /// What is known of the TLS library of a process.
    Library {
        /// The process.
        process: ProcessKey,
        /// Its library.
        library: TlsLibrary,
    },
    /// What was read out of plaintext, in its place: recordings hold no plaintext.
    Decoded {
        /// When.
        time_ns: u64,
        /// What it told.
        what: Decoded,
    },
    /// From here on credential files and environments are looked at.
    Watching,
    /// A process opened a file that may hold credentials.
    CredentialFile {
        /// When, at the latest.
        time_ns: u64,
        /// Who.
        opener: Opener,
        /// How, when known.
        access: Option<Access>,
        /// The file.
        file: OpenedFile,
    },
    /// The environment that a process was started with.
    Environment {
        /// When it was started with it.
        time_ns: u64,
        /// The process.
        process: ProcessKey,
        /// The credentials in it, each with its variable.
        found: Vec<Found>,
        /// Why it was not read; empty when it was.
        unread: String,
    },
    /// Time passed.
    Tick {
        /// Now.
        time_ns: u64,
    },
    /// Where a process is in a cgroup v1 hierarchy, on hosts that have them.
    Member {
        /// The process.
        process: ProcessKey,
        /// The cgroup.
        cgroup: CgroupKey,
        /// Its path.
        path: String,
    },
    /// A cgroup is gone.
    CgroupGone {
        /// When this was found.
        time_ns: u64,
        /// The cgroup.
        cgroup: CgroupKey,
    },
    /// What a source of identity says.
    Identity(Box<Answer>),
    /// Whether a source of identity can be asked.
    Source {
        /// The source.
        source: Source,
        /// Its state.
        state: SourceState,
    },
}
