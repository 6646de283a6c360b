//! Typed access to the kernel tables that user space reads and writes.

use attribution::event::FlowInfo;
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use sensor_common::{
    Counters, Generation, Task, cause,
    connect::{Address, Flow, slot},
    handshake::state,
    kind,
    tls::{Connection, Handle, Hits, Layout},
};

/// Gives a layout type aya's plain-data marker.
macro_rules! pod {
    ($($wrapper:ident($type:ty)),* $(,)?) => {$(
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        struct $wrapper($type);
        // SAFETY: `repr(C)` integers with explicit padding, valid for every bit pattern.
        unsafe impl Pod for $wrapper {}
    )*};
}

pod!(
    PodCounters(Counters),
    PodHandle(Handle),
    PodHits(Hits),
    PodLayout(Layout),
    PodConnection(Connection),
    PodFlow(Flow)
);

/// Counters of all event kinds, summed over CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Events the programs wanted to send, by kind.
    pub produced: [u64; kind::COUNT as usize],
    /// Events not sent, by kind and cause.
    pub lost: [[u64; cause::COUNT as usize]; kind::COUNT as usize],
}

/// Handles to the kernel tables.
pub struct Tables {
    counters: PerCpuArray<MapData, PodCounters>,
    hits: PerCpuArray<MapData, PodHits>,
    layouts: Array<MapData, PodLayout>,
    verdicts: HashMap<MapData, PodHandle, u8>,
    connections: HashMap<MapData, PodHandle, PodConnection>,
    addresses: HashMap<MapData, [u8; 16], u32>,
    flows: Array<MapData, PodFlow>,
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, MapError> {
    ebpf.take_map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
}

impl Tables {
    /// Takes the tables out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self {
            counters: take(ebpf, "COUNTERS")?.try_into()?,
            hits: take(ebpf, "HITS")?.try_into()?,
            layouts: take(ebpf, "LAYOUTS")?.try_into()?,
            verdicts: take(ebpf, "VERDICTS")?.try_into()?,
            connections: take(ebpf, "CONNECTIONS")?.try_into()?,
            addresses: take(ebpf, "MODEL_ADDRESSES")?.try_into()?,
            flows: take(ebpf, "FLOWS")?.try_into()?,
        })
    }

    /// Produced and lost events so far.
    pub fn losses(&self) -> Result<Losses, MapError> {
        let mut sum = Losses::default();
        for kind in 0..kind::COUNT {
            for cpu in self.counters.get(&kind, 0)?.iter() {
                sum.produced[kind as usize] += cpu.0.produced;
                for (total, lost) in sum.lost[kind as usize].iter_mut().zip(cpu.0.lost) {
                    *total += lost;
                }
            }
        }
        Ok(sum)
    }

    /// Hits of a probed file: all, and those on model connections.
    pub fn hits(&self, target: u32) -> Result<(u64, u64), MapError> {
        let slots = self.hits.get(&target, 0)?;
        Ok(slots.iter().fold((0, 0), |(total, model), cpu| (total + cpu.0.total, model + cpu.0.model)))
    }

    /// Whether the place of the client random in this file's TLS object is known.
    pub fn layout_known(&self, target: u32) -> Result<bool, MapError> {
        Ok(self.layouts.get(&target, 0)?.0.known != 0)
    }

    /// Forgets a target whose probes are gone, so that its index can serve another file.
    pub fn reset(&mut self, target: u32) -> Result<(), MapError> {
        let none = vec![PodHits(Hits { total: 0, model: 0 }); nr_cpus().map_err(|(_, error)| error)?];
        self.hits.set(target, PerCpuValues::try_from(none)?, 0)?;
        self.reset_layout(target)
    }

    fn reset_layout(&mut self, target: u32) -> Result<(), MapError> {
        let empty = Layout { known: 0, tries: 0, pointer: 0, random: 0 };
        self.layouts.set(target, PodLayout(empty), 0)
    }

    /// Allows further searches for the layout of a file that is not known yet.
    pub fn allow_search(&mut self, target: u32) -> Result<(), MapError> {
        if self.layout_known(target)? { Ok(()) } else { self.reset_layout(target) }
    }

    /// Tells the kernel whether to copy plaintext of a connection.
    pub fn set_verdict(&mut self, connection: [u8; 16], verdict: u8) -> Result<(), MapError> {
        self.verdicts.insert(PodHandle(Handle { bytes: connection }), verdict, 0)
    }

    /// Forgets a connection that ended.
    pub fn forget(&mut self, connection: [u8; 16]) {
        let handle = PodHandle(Handle { bytes: connection });
        // Both may be gone already; that is what is wanted.
        let _ = self.verdicts.remove(&handle);
        let _ = self.connections.remove(&handle);
    }

    /// Has the kernel report the end of a flow that was open before its programs were attached.
    pub fn follow(&mut self, flow: &FlowInfo) -> Result<(), MapError> {
        let known = Flow {
            cookie: flow.cookie,
            task: Task {
                process: Generation {
                    tgid: flow.task.process.pid,
                    pad: 0,
                    start_ns: flow.task.process.start_ns,
                },
                cgroup_id: flow.task.cgroup_id,
                uid: flow.task.uid,
                tid: 0,
                comm: [0; 16],
            },
            opened_ns: flow.opened_ns,
            remote: address(flow.remote),
            local: flow.local.map_or(Address { ip: [0; 16], port: 0, pad: [0; 6] }, address),
            protocol: libc::IPPROTO_TCP as u32,
            // Its first payload is long gone.
            state: state::DONE,
            first_seq: 0,
            packets: 0,
            wanted: 0,
            captured: 1,
            answer_seq: 0,
            asks: 0,
            random: [0; 16],
        };
        self.flows.set(slot(flow.cookie), PodFlow(known), 0)
    }

    /// Marks an address that a model host has been seen to have.
    pub fn add_model_address(&mut self, ip: std::net::IpAddr) -> Result<(), MapError> {
        self.addresses.insert(address(std::net::SocketAddr::new(ip, 0)).ip, 1, 0)
    }
}

/// The kernel side's form of an address.
fn address(address: std::net::SocketAddr) -> Address {
    let ip = match address.ip() {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        std::net::IpAddr::V6(v6) => v6,
    };
    Address { ip: ip.octets(), port: address.port(), pad: [0; 6] }
}
