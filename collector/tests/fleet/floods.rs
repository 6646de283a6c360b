//! HTTP/2 misused, by somebody with a certificate of the fleet and by somebody without one, and handshakes without an
//! end. An honest sensor is acknowledged meanwhile, as promptly as ever and each record once.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use collector::tls::HTTP2;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::support::{Collector, Host, acknowledged, peak_memory, wait};

/// Where misuse comes from; the honest sensor has another address.
const ELSEWHERE: &str = "127.0.0.2:0";
/// Connections that misuse the collector at one time.
const ATTACKERS: usize = 3;
/// Rounds of the honest sensor beside each misuse, and records in each.
const ROUNDS: u64 = 10;
const RECORDS: u64 = 10;
/// Longest wait for an acknowledgement, in a build that is not optimised, on a machine that attackers use as well.
const PROMPT: Duration = Duration::from_secs(15);
/// Frames that one connection sends, unless it is ended before.
const FRAMES: u32 = 200_000;
/// Time for one write; a collector that takes no more makes it fail.
const WRITE_WITHIN: Duration = Duration::from_secs(1);
/// Most that the collector's memory may grow by all of this.
const GROWTH: u64 = 32 * 1024 * 1024;
/// `ENHANCE_YOUR_CALM` (RFC 9113 7).
const CALM: u32 = 0xb;

/// Types and flags of frames (RFC 9113 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's head.
const HEAD: usize = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a call of `Ingest`, packed without a table (RFC 7541 6.1, 6.2.2; names of its static table).
fn call() -> Vec<u8> {
    let (post, https) = (0x83, 0x87);
    let mut head = vec![post, https];
    let content_type: &[u8] = &[0x0f, 0x10];
    let fields =
        [(&[4][..], "/keywitness.v1.Ingest/Ingest"), (&[1], "localhost"), (content_type, "application/grpc")];
    for (name, value) in fields {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    }
    head
}

/// The streams that a client opens have odd numbers.
fn stream(turn: u32) -> u32 {
    2 * turn + 1
}

fn open(turn: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream(turn), &call())
}

/// One way to misuse a connection.
struct Misuse {
    name: &'static str,
    /// What is sent in each turn, counted from 0.
    frames: fn(u32) -> Vec<u8>,
    /// Turns that are sent together.
    together: u32,
    /// How the collector ends the connection; nothing where it may go on, one answer at a time.
    ended: Option<u32>,
}

const MISUSES: [Misuse; 7] = [
    Misuse {
        name: "streams that are reset at once",
        frames: |turn| [open(turn), frame(RST_STREAM, 0, stream(turn), &8_u32.to_be_bytes())].concat(),
        together: 100,
        ended: Some(CALM),
    },
    Misuse {
        name: "streams that are reset one by one",
        frames: |turn| [open(turn), frame(RST_STREAM, 0, stream(turn), &8_u32.to_be_bytes())].concat(),
        together: 1,
        ended: None,
    },
    Misuse { name: "more streams than allowed", frames: open, together: 100, ended: Some(CALM) },
    Misuse {
        name: "a head without an end",
        frames: |turn| match turn {
            0 => frame(HEADERS, 0, stream(0), &call()),
            // A field `a: b`, again and again.
            _ => frame(CONTINUATION, 0, stream(0), &[0, 1, b'a', 1, b'b'].repeat(20)),
        },
        together: 100,
        ended: Some(CALM),
    },
    Misuse { name: "pings", frames: |turn| frame(PING, 0, 0, &[turn as u8; 8]), together: 100, ended: None },
    Misuse { name: "settings", frames: |_| frame(SETTINGS, 0, 0, &[]), together: 100, ended: None },
    Misuse {
        name: "data without bytes",
        frames: |turn| match turn {
            0 => open(0),
            _ => frame(DATA, 0, stream(0), &[]),
        },
        together: 100,
        ended: Some(CALM),
    },
];

/// One connection.
struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Connects to `address`, which has to be one of this machine.
    fn connect(address: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let socket = from_elsewhere(address)?;
        socket.set_write_timeout(Some(WRITE_WITHIN))?;
        socket.set_read_timeout(Some(WRITE_WITHIN))?;
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut client = Self(StreamOwned::new(session, socket));
        client.0.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
        Ok(client)
    }

    /// Sends frames until the connection is ended or holds them back, or enough were sent.
    fn misuse(&mut self, misuse: &Misuse, stop: &AtomicBool) {
        let mut turn = 0;
        while turn < FRAMES && !stop.load(Ordering::Relaxed) {
            let frames: Vec<u8> = (turn..turn + misuse.together).flat_map(misuse.frames).collect();
            turn += misuse.together;
            if self.0.write_all(&frames).and_then(|()| self.0.flush()).is_err() {
                return;
            }
        }
    }

    /// What the collector said until it closed the connection, or until it says no more.
    fn answer(&mut self) -> Vec<u8> {
        let (mut answer, session) = (Vec::new(), &mut self.0.conn);
        // The end of such a connection is an error more often than not. What waits to be sent is not sent first, because
        // nobody may be there to take it.
        while session.read_tls(&mut self.0.sock).is_ok_and(|bytes| bytes > 0) {
            let fine = session.process_new_packets().is_ok();
            drop(session.reader().read_to_end(&mut answer));
            if !fine {
                break;
            }
        }
        answer
    }
}

fn from_elsewhere(address: &str) -> io::Result<TcpStream> {
    let (from, to): (SocketAddr, SocketAddr) = (ELSEWHERE.parse().unwrap(), address.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(from)?;
        socket.connect(to).await
    })?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The error code of the GOAWAY frame in an answer.
fn goaway(mut answer: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = answer.split_at_checked(HEAD) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().unwrap()));
        }
        answer = rest;
    }
    None
}

/// A client that trusts the collector, with the certificate in a folder or without one.
fn config(collector: &Collector, certificate: Option<&Path>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(collector.pki().join("ca.pem")).unwrap()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match certificate {
        Some(folder) => {
            let chain = vec![CertificateDer::from_pem_file(folder.join("sensor.pem")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(folder.join("sensor.key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Arc::new(config)
}

/// Says at its end, whatever the end is, that attackers may stop.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An honest sensor.
struct Honest {
    host: Host,
    uplink: uplink::Uplink,
    /// Records that were acknowledged before this connection.
    before: u64,
    slowest: Duration,
}

impl Honest {
    fn start(collector: &Collector) -> Self {
        let host = Host::of(collector, "web-1");
        let mut honest = Self { uplink: host.send(), host, before: 0, slowest: Duration::ZERO };
        honest.round();
        honest
    }

    /// Connects anew.
    fn again(self) -> Self {
        self.uplink.stop();
        let mut honest = Self { uplink: self.host.send(), before: self.host.written(), ..self };
        honest.round();
        honest
    }

    /// Some records, until they are acknowledged.
    fn round(&mut self) {
        let begin = Instant::now();
        self.host.write(RECORDS, "a");
        wait("the honest sensor is acknowledged", || {
            (acknowledged(&self.uplink) == self.host.written() - self.before).then_some(())
        });
        self.slowest = self.slowest.max(begin.elapsed());
    }

    /// Everything is there, once, and came without a hindrance.
    fn check(&self, collector: &Collector, beside: &str) {
        println!("{beside}: the slowest round took {:?}", self.slowest);
        assert!(self.slowest < PROMPT, "{beside}: {:?}", self.slowest);
        assert_eq!(self.uplink.progress().failures.load(Ordering::Relaxed), 0, "{beside}");
        assert_eq!(collector.numbers("web-1"), (1..=self.host.written()).collect(), "{beside}");
    }
}

/// Misuses `address` while the honest sensor goes on; gives what attackers were told when they were ended.
fn beside(honest: &mut Honest, address: &str, config: &Arc<ClientConfig>, misuse: &Misuse) -> Vec<Vec<u8>> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let attack = || {
            let mut answers = Vec::new();
            // One whole connection at least.
            while answers.is_empty() || !stop.load(Ordering::Relaxed) {
                // Refused while another's end is under way.
                let Ok(mut client) = Client::connect(address, config) else { continue };
                client.misuse(misuse, &stop);
                answers.push(client.answer());
            }
            answers
        };
        let attackers: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(attack)).collect();
        let end = Stop(&stop);
        (0..ROUNDS).for_each(|_| honest.round());
        drop(end);
        attackers.into_iter().flat_map(|attacker| attacker.join().unwrap()).collect()
    })
}

#[test]
fn http2_misused_ends_its_own_connection_and_no_other_sensor_notices() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1", "web-2"]);
    collector.start();
    let mut honest = Honest::start(&collector);
    let process = collector.process.as_ref().unwrap().id().to_string();
    let before = peak_memory(&process);
    let (member, stranger) =
        (config(&collector, Some(&folder.path().join("sensors/web-2"))), config(&collector, None));
    let questions = collector.query_endpoint().trim_start_matches("https://").to_owned();
    for misuse in &MISUSES {
        for (who, address, config) in
            [("with a certificate", collector.address(), &member), ("without one", &questions, &stranger)]
        {
            let name = format!("{}, {who}", misuse.name);
            let answers = beside(&mut honest, address, config, misuse);
            honest.check(&collector, &name);
            let codes: Vec<_> = answers.iter().map(|answer| goaway(answer)).collect();
            println!("{name}: {} connections, ended with {:?}", codes.len(), codes.first());
            if misuse.ended.is_some() {
                assert!(codes.contains(&misuse.ended), "{name}: {codes:?}");
            }
        }
        // Where sensors connect, nothing is read of those who have no certificate.
        let answers = beside(&mut honest, collector.address(), &stranger, misuse);
        assert!(answers.iter().all(Vec::is_empty), "{}: an answer without a certificate", misuse.name);
        honest.check(&collector, misuse.name);
    }
    let grown = peak_memory(&process) - before;
    println!("peak memory: + {} KiB", grown >> 10);
    assert!(grown < GROWTH, "the collector took {grown} bytes");
    assert!(collector.is_running());
}

/// More than the collector has under way from one address.
const HANDSHAKES: usize = 4 * collector::listen::MAX_HANDSHAKES_EACH;

#[test]
fn handshakes_without_an_end_keep_no_sensor_from_connecting() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (address, stop) = (collector.address(), &stop);
        let flood = scope.spawn(move || {
            let mut open = std::collections::VecDeque::new();
            let mut made = 0_u64;
            while !stop.load(Ordering::Relaxed) || made < HANDSHAKES as u64 {
                let mut stream = from_elsewhere(address).unwrap();
                // A TLS record that promises more than ever comes; refused ones are closed already.
                drop(stream.write_all(&[0x16, 3, 1, 0x3f, 0xff, 1, 0]));
                open.push_back(stream);
                if open.len() > HANDSHAKES {
                    open.pop_front();
                }
                made += 1;
            }
            made
        });
        let end = Stop(stop);
        let mut honest = Honest::start(&collector);
        for _ in 0..ROUNDS {
            honest = honest.again();
            honest.check(&collector, "handshakes without an end");
        }
        drop(end);
        println!("{} handshakes without an end", flood.join().unwrap());
    });
    assert!(collector.is_running());
}
