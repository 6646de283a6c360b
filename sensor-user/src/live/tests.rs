use std::{
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use attribution::filter::{Field, Term};
use proto::v1::{Record, Sensor, Status, record::Body};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::sink::Sink;

/// A hub whose event loop runs on a thread of its own.
fn start() -> (TempDir, Runtime, Hub) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let hub = runtime.block_on(async { Hub::open(folder.path()) }).unwrap();
    (folder, runtime, hub)
}

fn record(seq: u64, body: Body) -> Record {
    let mut record = Record::new(1_000 + seq, body);
    record.sensor = Some(Sensor { host: "h".into(), boot_id: "b".into(), seq });
    record
}

fn status(seq: u64) -> Record {
    record(seq, Body::Status(Status::default()))
}

fn only(kind: &str) -> Filter {
    let term = Term { field: Field::Kind, value: kind.into(), not: false };
    Filter { terms: vec![term], ..Default::default() }
}

/// Numbers of the next `count` records, and how many were dropped before the last.
fn take(follower: &mut Follower, count: usize) -> (Vec<u64>, u64) {
    let (mut seen, mut dropped) = (Vec::new(), 0);
    while seen.len() < count {
        match follower.next().unwrap().unwrap() {
            Message::Record(record) => seen.push(record.place().unwrap().2),
            Message::Dropped(count) => dropped += count,
            Message::Idle => {}
        }
    }
    (seen, dropped)
}

#[test]
fn each_client_gets_what_it_asked_for() {
    let (folder, _runtime, mut hub) = start();
    let mut all = follow(folder.path(), &Filter::default()).unwrap();
    let mut flows = follow(folder.path(), &only("flow")).unwrap();
    hub.write(&status(1)).unwrap();
    hub.write(&record(2, Body::Flow(Box::default()))).unwrap();
    assert_eq!(take(&mut all, 2), (vec![1, 2], 0));
    assert_eq!(take(&mut flows, 1), (vec![2], 0));
    drop(hub);
    assert!(all.all(|message| matches!(message, Ok(Message::Idle))));
    assert!(!path(folder.path()).exists());
}

#[test]
fn a_slow_client_is_told_how_much_it_missed() {
    let (folder, runtime, mut hub) = start();
    let mut slow = UnixStream::connect(path(folder.path())).unwrap();
    slow.write_all(b"{\"filter\":{}}\n").unwrap();
    let mut lines = BufReader::new(slow).lines();
    assert_eq!(lines.next().unwrap().unwrap(), r#"{"control":"following"}"#);
    // More than the queue and the socket's buffers hold, while nothing is read.
    let sent = 20_000;
    for seq in 1..=sent {
        hub.write(&status(seq)).unwrap();
    }
    drop(hub);
    let (mut seen, mut dropped) = (0, 0);
    let hang_up = std::thread::spawn(move || {
        for line in lines {
            match serde_json::from_str::<Control>(&line.unwrap()) {
                Ok(Control { control: Event::Dropped(count) }) => dropped += count,
                Ok(other) => panic!("{other:?}"),
                Err(_) => seen += 1,
            }
            if seen + dropped == sent {
                break;
            }
        }
        (seen, dropped)
    });
    let (seen, dropped) = hang_up.join().unwrap();
    assert!(dropped > 0 && seen > 0, "{seen} seen, {dropped} dropped");
    assert_eq!(seen + dropped, sent);
    drop(runtime);
}

#[test]
fn the_socket_is_for_its_owner_and_bad_requests_are_refused() {
    let (folder, _runtime, _hub) = start();
    let mode = std::fs::metadata(path(folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for request in ["no\n", "{\"filter\":{\"terms\":[{\"field\":\"kind\",\"value\":\"call\"}]}}\n", "\n"] {
        let mut stream = UnixStream::connect(path(folder.path())).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = BufReader::new(stream).lines().next().unwrap().unwrap();
        assert!(answer.starts_with(r#"{"control":{"refused":"bad "#), "{answer}");
    }
}

#[test]
fn one_sensor_for_a_folder_but_a_dead_one_leaves_nothing_in_the_way() {
    let (folder, runtime, hub) = start();
    let again = runtime.block_on(async { Hub::open(folder.path()) });
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop((hub, runtime));
    drop(std::os::unix::net::UnixListener::bind(path(folder.path())).unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(async { Hub::open(folder.path()) }).is_ok());
}

#[test]
fn without_a_sensor_there_is_nothing_to_follow() {
    let folder = tempfile::tempdir().unwrap();
    let error = follow(folder.path(), &Filter::default()).err().unwrap();
    assert!(error.to_string().starts_with("no sensor is running"), "{error}");
}
