//! Connect tax: CPU per loopback TCP connection, with and without observers.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use anyhow::{Context, Result};

use super::Bench;
use super::acts::Acts;
use super::observer::Variant;
use super::rows::{Rows, Scratch};
use crate::shell::find;

/// Connections before each measurement, not counted.
const PRELUDE: u32 = 5000;
/// Connections to one loopback address before the next is taken: fewer than there are local ports, which stay
/// taken for a while after each connection.
const PER_ADDRESS: u32 = 10_000;
/// The first of the loopback addresses that are connected to, 127.1.0.0; 127.0.0.1 is left to others.
const FIRST_ADDRESS: u32 = 0x7f01_0000;
/// How many loopback addresses are used before the first one comes again.
const ADDRESSES: u32 = 0x00f0_0000;
/// Peers from libbpf-tools: they say what each connection was.
const PEERS: [&str; 2] = ["tcplife", "tcpstates"];

/// Opens and closes connections, to new addresses from time to time.
struct Loop {
    listener: TcpListener,
    port: u16,
    done: u32,
}

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let peers = PEERS.iter().filter_map(|&name| {
        let command = format!("exec {}", find(name)?.display());
        Some(Variant { name: name.into(), command: Some(command) })
    });
    let variants = bench.variants(peers.collect())?;
    let folder = Scratch::new()?;
    let mut work = Loop::new()?;
    let acts = Acts {
        name: "connect",
        act: "connection",
        acts: "connections",
        meaning: "loopback TCP connection (connect, accept, close)",
        prelude: PRELUDE,
        count: bench.args.connections,
    };
    acts.measure(bench, rows, &variants, folder.path(), |count| work.connect(count))
}

impl Loop {
    fn new() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no free port to listen on")?;
        let port = listener.local_addr().context("no free port to listen on")?.port();
        Ok(Self { listener, port, done: 0 })
    }

    fn connect(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            let address = address(self.done);
            self.done = self.done.wrapping_add(1);
            let client = TcpStream::connect(SocketAddrV4::new(address, self.port))
                .with_context(|| format!("cannot connect to {address}"))?;
            let server = self.listener.accept().context("cannot accept a connection")?;
            drop(client);
            drop(server);
        }
        Ok(())
    }
}

fn address(done: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_ADDRESS + (done / PER_ADDRESS) % ADDRESSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_on_loopback_and_change_before_the_ports_run_out() {
        assert_eq!(address(0), Ipv4Addr::new(127, 1, 0, 0));
        assert_ne!(address(0), address(PER_ADDRESS));
        assert!(address(u32::MAX).is_loopback());
        assert!(Ipv4Addr::from_bits(FIRST_ADDRESS + ADDRESSES - 1).is_loopback());
    }

    #[test]
    fn loop_connects_as_often_as_asked() {
        let mut work = Loop::new().unwrap();
        work.connect(50).unwrap();
        assert_eq!(work.done, 50);
    }
}
