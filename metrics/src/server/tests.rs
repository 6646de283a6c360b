use std::{
    io::{Read, Write},
    net::TcpStream as Client,
    sync::atomic::AtomicUsize,
};

use super::*;
use crate::table::sensor;

/// A program that answers unless it is stuck, and counts how often it was asked.
#[derive(Clone, Default)]
struct Program {
    stuck: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Subject for Program {
    async fn page(&self) -> Option<Page> {
        let mut page = Page::new(sensor::METRICS);
        page.add(sensor::RING, [], 7.0);
        self.answers().await.then_some(page)
    }

    async fn answers(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        !self.stuck.load(Ordering::Relaxed)
    }
}

fn server() -> (Server, Program) {
    let program = Program::default();
    (Server::start("127.0.0.1:0".parse().unwrap(), program.clone()).unwrap(), program)
}

/// Status and whole answer.
fn request(server: &Server, bytes: &[u8]) -> (u16, String) {
    let mut stream = Client::connect(server.address()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(), answer)
}

fn get(server: &Server, path: &str) -> (u16, String) {
    request(server, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
}

#[test]
fn probes_and_metrics_tell_starting_running_and_stopping_apart() {
    let (server, program) = server();
    assert_eq!(get(&server, "/healthz").0, 200);
    assert_eq!((get(&server, "/readyz").0, get(&server, "/metrics").0), (503, 503));
    server.ready(true);
    assert_eq!((get(&server, "/healthz").0, get(&server, "/readyz").0), (200, 200));
    let (status, page) = get(&server, "/metrics");
    assert!(
        status == 200 && page.contains("application/openmetrics-text") && page.ends_with("# EOF\n"),
        "{page}"
    );
    assert!(page.contains("keywitness_ring_bytes 7.0\n"), "{page}");
    server.ready(false);
    assert_eq!((get(&server, "/healthz").0, get(&server, "/readyz").0), (200, 503));
    assert_eq!(program.asked.load(Ordering::Relaxed), 3);
}

#[test]
fn a_program_that_is_stuck_is_in_no_good_health() {
    let (server, program) = server();
    server.ready(true);
    program.stuck.store(true, Ordering::Relaxed);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (status, text) = get(&server, path);
        assert!(status == 503 && text.contains("does not answer"), "{path}: {text}");
    }
}

#[test]
fn garbage_other_methods_and_unknown_paths_change_nothing() {
    let (server, program) = server();
    server.ready(true);
    assert_eq!(request(&server, b"\x16\x03\x01\x02\x00garbage\r\n\r\n").0, 400);
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * MAX_HEAD_BYTES));
    assert_eq!(request(&server, long.as_bytes()).0, 431);
    let (status, answer) =
        request(&server, b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    assert!(status == 405 && answer.to_lowercase().contains("allow: get, head"), "{answer}");
    assert_eq!(get(&server, "/").0, 404);
    assert_eq!(get(&server, "/metrics").0, 200);
    assert_eq!(program.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn connections_that_say_nothing_take_a_bounded_number_of_places() {
    let (server, _) = server();
    let mut idle: Vec<Client> =
        (0..MAX_CONNECTIONS).map(|_| Client::connect(server.address()).unwrap()).collect();
    // The server takes them in order: this one comes too late and is closed unanswered.
    let mut late = Client::connect(server.address()).unwrap();
    assert_eq!(late.read(&mut [0; 8]).unwrap_or_default(), 0);
    idle.clear();
    let answered = || (get_or_closed(&server) == 200).then_some(());
    assert!(std::iter::repeat_with(answered).take(10_000).any(|one| one.is_some()));
}

/// The status, 0 when the server closed the connection.
fn get_or_closed(server: &Server) -> u16 {
    let mut answer = String::new();
    let Ok(mut stream) = Client::connect(server.address()) else { return 0 };
    let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    let _ = sent.and_then(|()| stream.read_to_string(&mut answer).map(drop));
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
