//! Sockets that were open before the sensor, from the kernel's socket diagnostics (sock_diag(7)), in
//! every network namespace. Each has a cookie, so its end is seen like any other's; what it sent first is
//! gone, so it is marked and never bound to plaintext.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use attribution::event::{FlowInfo, ProcessKey, Protocol, Task};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};
use nix::sched::{CloneFlags, setns};

/// Sockets taken over in all.
const MAX_SOCKETS: usize = 4096;
/// Network namespaces looked into.
const MAX_NAMESPACES: usize = 1024;
/// Bytes of one netlink read; the kernel sends at most 32 KiB in one message.
const BUFFER: usize = 64 << 10;
/// Port of nearly every model endpoint; other sockets are of interest only at configured addresses.
const HTTPS: u16 = 443;

struct Open {
    cookie: u64,
    inode: u32,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Established TCP sockets to HTTPS or to an address of `interesting`, with who holds them: the task's
/// process is zero when several processes do.
pub fn scan(interesting: impl Fn(SocketAddr) -> bool) -> Vec<FlowInfo> {
    let mut open = Vec::new();
    for namespace in namespaces() {
        // A thread of its own, because entering a namespace changes the thread.
        let found = std::thread::spawn(move || inside(&namespace)).join();
        match found {
            Ok(Ok(sockets)) => open.extend(sockets),
            Ok(Err(error)) => tracing::debug!(%error, "open sockets of a network namespace are not known"),
            Err(_) => tracing::error!("looking at open sockets failed"),
        }
    }
    open.retain(|socket| socket.remote.port() == HTTPS || interesting(socket.remote));
    if open.len() > MAX_SOCKETS {
        tracing::warn!(sockets = open.len(), limit = MAX_SOCKETS, "not all open sockets are taken over");
        open.truncate(MAX_SOCKETS);
    }
    let holders = if open.is_empty() { HashMap::new() } else { holders(&open) };
    open.into_iter()
        .map(|socket| FlowInfo {
            cookie: socket.cookie,
            task: Task {
                process: holders.get(&socket.inode).copied().flatten().unwrap_or_default(),
                ..Task::default()
            },
            opened_ns: 0,
            remote: socket.remote,
            local: Some(socket.local),
            protocol: Protocol::Tcp,
        })
        .collect()
}

/// One namespace file for each network namespace that a process is in.
fn namespaces() -> Vec<PathBuf> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut seen = HashSet::new();
    processes
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .map(|entry| entry.path().join("ns/net"))
        .filter(|path| std::fs::metadata(path).is_ok_and(|metadata| seen.insert(metadata.ino())))
        .take(MAX_NAMESPACES)
        .collect()
}

fn inside(namespace: &PathBuf) -> io::Result<Vec<Open>> {
    setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
    let mut open = dump(AF_INET)?;
    open.extend(dump(AF_INET6)?);
    Ok(open)
}

/// Asks for the established TCP sockets of one address family (struct inet_diag_req_v2).
fn dump(family: u8) -> io::Result<Vec<Open>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::ESTABLISHED,
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut open = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let size = socket.recv(&mut &mut buffer[..], 0)?;
        let mut rest = buffer.get(..size).unwrap_or_default();
        while !rest.is_empty() {
            let reply = <NetlinkMessage<SockDiagMessage>>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match reply.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    open.push(one(&socket));
                }
                NetlinkPayload::Done(_) => return Ok(open),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            let length = reply.header.length as usize;
            if length == 0 || open.len() > MAX_SOCKETS {
                return Ok(open);
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn one(socket: &InetResponse) -> Open {
    let id = &socket.header.socket_id;
    Open {
        cookie: u64::from_ne_bytes(id.cookie),
        inode: socket.header.inode,
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
    }
}

/// Who has each socket open; nothing when more than one process has.
fn holders(open: &[Open]) -> HashMap<u32, Option<ProcessKey>> {
    let wanted: HashSet<u32> = open.iter().map(|socket| socket.inode).collect();
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    let mut holders: HashMap<u32, Option<ProcessKey>> = HashMap::new();
    let Ok(processes) = procfs::process::all_processes() else { return holders };
    for process in processes.flatten() {
        let (Ok(stat), Ok(files)) = (process.stat(), process.fd()) else { continue };
        let key =
            ProcessKey { pid: stat.pid.unsigned_abs(), start_ns: stat.starttime.saturating_mul(tick_ns) };
        for file in files.flatten() {
            let procfs::process::FDTarget::Socket(inode) = file.target else { continue };
            let Ok(inode) = u32::try_from(inode) else { continue };
            if wanted.contains(&inode) {
                let holder = holders.entry(inode).or_insert(Some(key));
                if *holder != Some(key) {
                    *holder = None;
                }
            }
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_is_found_with_its_holder_and_both_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(remote).unwrap();
        let open = dump(AF_INET).unwrap();
        let ours = open.iter().find(|socket| socket.remote == remote).expect("not listed");
        assert_eq!(ours.local, client.local_addr().unwrap());
        assert_ne!(ours.cookie, 0);
        let holders = holders(std::slice::from_ref(ours));
        assert_eq!(holders[&ours.inode].map(|key| key.pid), Some(std::process::id()));
    }
}
