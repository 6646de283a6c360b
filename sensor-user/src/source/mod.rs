//! Raw kernel events to checked [`Event`]s: the one place where foreign bytes get a type.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use attribution::event::{
    Direction, Event, FileId, FlowInfo, Plaintext, ProcessImage, ProcessKey, Protocol, Shape, Task,
};
use sensor_common as raw;
use thiserror::Error;
use zerocopy::FromBytes;

/// Why bytes from the ring are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Shorter than its fixed part or than it says.
    #[error("event is shorter than it says")]
    Short,
    /// Made by another build of the kernel object.
    #[error("event layout is of another version; rebuild with `cargo xtask build`")]
    Abi,
    /// Not a kind this build knows.
    #[error("unknown event kind")]
    Kind,
}

const UDP: u32 = 17;

/// The kind of an event, for its counters.
pub fn kind(bytes: &[u8]) -> Option<u16> {
    raw::Header::ref_from_prefix(bytes).ok().map(|(header, _)| header.kind)
}

/// The event in `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Event, Malformed> {
    let header: &raw::Header = prefix(bytes)?.0;
    if header.abi != raw::ABI {
        return Err(Malformed::Abi);
    }
    match header.kind {
        raw::kind::FORK => {
            let event: &raw::process::Fork = prefix(bytes)?.0;
            Ok(Event::Fork {
                time_ns: event.header.time_ns,
                parent: process(&event.parent),
                child: process(&event.child),
            })
        }
        raw::kind::EXEC => exec(prefix(bytes)?),
        raw::kind::EXIT => {
            let event: &raw::process::Exit = prefix(bytes)?.0;
            Ok(Event::Exit { time_ns: event.header.time_ns, process: process(&event.process) })
        }
        raw::kind::CONNECT => {
            let event: &raw::connect::Connect = prefix(bytes)?.0;
            Ok(Event::Connect { time_ns: event.header.time_ns, flow: flow(&event.flow) })
        }
        raw::kind::PAYLOAD => {
            let (event, rest): (&raw::handshake::Payload, _) = prefix(bytes)?;
            let data = rest.get(..event.header.data_len as usize).ok_or(Malformed::Short)?;
            Ok(Event::Payload {
                time_ns: event.header.time_ns,
                flow: flow(&event.flow),
                shape: match event.shape {
                    raw::handshake::shape::TLS => Shape::Tls,
                    raw::handshake::shape::HTTP => Shape::Http,
                    raw::handshake::shape::QUIC => Shape::Quic,
                    _ => Shape::Other,
                },
                offset: event.offset,
                bytes: Plaintext::copy(data),
            })
        }
        raw::kind::CLOSE => {
            let event: &raw::flow::Close = prefix(bytes)?.0;
            Ok(Event::Close {
                time_ns: event.header.time_ns,
                flow: flow(&event.flow),
                connection: (event.flow.random != [0; 16]).then_some(event.flow.random),
                sent: event.bytes_sent,
                received: event.bytes_received,
            })
        }
        raw::kind::DNS => {
            let (event, rest): (&raw::dns::Answer, _) = prefix(bytes)?;
            let message = rest.get(..event.header.data_len as usize).ok_or(Malformed::Short)?;
            Ok(Event::Dns {
                time_ns: event.header.time_ns,
                cgroup_id: event.cgroup_id,
                process: (event.flow.cookie != 0).then(|| process(&event.flow.task.process)),
                message: message.to_vec(),
            })
        }
        raw::kind::CLEARTEXT => {
            let (event, rest): (&raw::cleartext::Data, _) = prefix(bytes)?;
            let data = rest.get(..event.header.data_len as usize).ok_or(Malformed::Short)?;
            Ok(Event::Cleartext {
                time_ns: event.header.time_ns,
                cookie: event.cookie,
                direction: direction(event.direction),
                position: event.position,
                bytes: Plaintext::copy(data),
            })
        }
        raw::kind::TLS => {
            let (event, rest): (&raw::tls::Data, _) = prefix(bytes)?;
            let data = rest.get(..event.header.data_len as usize).ok_or(Malformed::Short)?;
            Ok(Event::Tls {
                time_ns: event.header.time_ns,
                task: task(&event.task),
                connection: event.connection.bytes,
                by_random: event.handle == raw::tls::handle::RANDOM,
                cookie: event.cookie,
                direction: direction(event.direction),
                position: event.position,
                probe: event.target,
                bytes: Plaintext::copy(data),
            })
        }
        _ => Err(Malformed::Kind),
    }
}

fn direction(told: u32) -> Direction {
    if told == raw::tls::direction::READ { Direction::Read } else { Direction::Write }
}

fn prefix<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
    bytes: &[u8],
) -> Result<(&T, &[u8]), Malformed> {
    T::ref_from_prefix(bytes).map_err(|_| Malformed::Short)
}

fn exec((event, rest): (&raw::process::Exec, &[u8])) -> Result<Event, Malformed> {
    let path = event.path.get(..event.path_len as usize).ok_or(Malformed::Short)?;
    let args = rest.get(..event.header.data_len as usize).ok_or(Malformed::Short)?;
    let mut args: Vec<String> = args.split(|byte| *byte == 0).map(text).collect();
    if event.args_total as usize <= raw::process::MAX_ARGS {
        args.pop(); // what follows the last NUL
    }
    let task = task(&event.task);
    Ok(Event::Exec {
        time_ns: event.header.time_ns,
        parent: process(&event.parent),
        image: ProcessImage {
            exe: text(path),
            file: FileId { device: event.exe_dev, inode: event.exe_ino },
            comm: task.comm.clone(),
            args,
        },
        task,
    })
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn process(generation: &raw::Generation) -> ProcessKey {
    ProcessKey { pid: generation.tgid, start_ns: generation.start_ns }
}

fn task(task: &raw::Task) -> Task {
    Task { process: process(&task.process), cgroup_id: task.cgroup_id, uid: task.uid, comm: text(&task.comm) }
}

fn flow(flow: &raw::connect::Flow) -> FlowInfo {
    FlowInfo {
        cookie: flow.cookie,
        task: task(&flow.task),
        opened_ns: flow.opened_ns,
        remote: address(&flow.remote),
        local: (flow.local.port != 0).then(|| address(&flow.local)),
        protocol: if flow.protocol == UDP { Protocol::Udp } else { Protocol::Tcp },
    }
}

fn address(address: &raw::connect::Address) -> SocketAddr {
    SocketAddr::new(IpAddr::from(Ipv6Addr::from(address.ip)).to_canonical(), address.port)
}

#[cfg(test)]
mod tests;
