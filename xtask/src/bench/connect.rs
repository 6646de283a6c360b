//! Connect tax: CPU per loopback TCP connection, with and without observers.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use anyhow::{Context, Result};
use serde_json::json;

use super::observer::{Observer, Variant};
use super::rounds::{Figures, order};
use super::rows::{Rows, Scratch, table};
use super::{Bench, procfs};
use crate::shell::{find, say};

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
    let (mut own, mut beside) = (Figures::new(&variants), Figures::new(&variants));
    for round in 0..bench.args.rounds {
        say(format_args!("connect: round {} of {}", round + 1, bench.args.rounds));
        for index in order(round, variants.len()) {
            let Some(variant) = variants.get(index) else { continue };
            let steal = procfs::steal_ticks();
            let mut observer = variant.start(folder.path())?;
            // The base waits as long as the others, so that the machine is in the same state.
            bench.interrupt.pause(bench.warm_up())?;
            work.connect(PRELUDE)?;
            let observer_ns = |observer: &Option<Observer>| observer.as_ref().map_or(Ok(0), Observer::cpu_ns);
            let (before, beside_before) = (procfs::own_cpu_ns()?, observer_ns(&observer)?);
            work.connect(bench.args.connections)?;
            let (after, beside_after) = (procfs::own_cpu_ns()?, observer_ns(&observer)?);
            observer.as_mut().map(Observer::check).transpose()?;
            observer.map(Observer::stop).transpose()?;
            let each = |ns: u64| ns as f64 / 1000.0 / f64::from(bench.args.connections);
            let us = each(after.saturating_sub(before));
            let beside_us = each(beside_after.saturating_sub(beside_before));
            own.add(index, us);
            beside.add(index, beside_us);
            rows.add(&json!({
                "row": "connect", "round": round, "observer": variant.name, "connections": bench.args.connections,
                "us_per_connection": us, "observer_us_per_connection": beside_us,
                "steal_ticks": steal.zip(procfs::steal_ticks()).map(|(before, after)| after.saturating_sub(before)),
            }))?;
        }
    }
    let lines: Vec<Vec<String>> = variants
        .iter()
        .enumerate()
        .map(|(index, variant)| {
            let mut line = vec![variant.name.clone()];
            line.extend(own.cells(index));
            line.push(beside.median(index).map_or("-".into(), |us| format!("{us:.2}")));
            line
        })
        .collect();
    let title = format!(
        "CPU per loopback TCP connection (connect, accept, close): {} rounds of {} connections, medians, ratios within rounds",
        bench.args.rounds, bench.args.connections
    );
    let header = ["observer", "us/connection", "added", "95 % interval", "observer's own us"];
    println!("{}", table(&title, &header, &lines));
    Ok(())
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
