//! The side of who follows.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
};

use attribution::filter::Filter;
use proto::v1::Record;

use super::{Control, Event, Request, path};

/// Records that wait here while something else is done; with more the sensor is no longer read from.
const QUEUE: usize = 65_536;
/// How every control line begins; no record does.
const CONTROL: &str = "{\"control\":";

/// What comes from a sensor.
#[derive(Debug)]
pub enum Message {
    /// A record.
    Record(Box<Record>),
    /// So many records were left out because this side was slow.
    Dropped(u64),
    /// Nothing more waits: a good moment to write out what is in buffers.
    Idle,
}

/// Messages until the sensor stops.
pub struct Follower {
    messages: Receiver<io::Result<Message>>,
    idle: bool,
}

/// Follows the sensor of `state_dir`.
pub fn follow(state_dir: &Path, filter: &Filter) -> io::Result<Follower> {
    let path = path(state_dir);
    let at = |error: io::Error| {
        let text = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("no sensor is running ({} does not answer)", path.display())
            }
            _ => format!("cannot follow the sensor at {}: {error}", path.display()),
        };
        io::Error::new(error.kind(), text)
    };
    let mut stream = UnixStream::connect(&path).map_err(at)?;
    let mut request = serde_json::to_vec(&Request { filter: filter.clone() })?;
    request.push(b'\n');
    stream.write_all(&request).map_err(at)?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Err(io::ErrorKind::UnexpectedEof.into())).map_err(at)?;
    match serde_json::from_str(&first)? {
        Control { control: Event::Following } => {}
        Control { control: Event::Refused(reason) } => {
            return Err(at(io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        Control { control: Event::Dropped(_) } => return Err(at(io::ErrorKind::InvalidData.into())),
    }
    // A thread of its own keeps reading while the past is shown.
    let (sender, messages) = sync_channel(QUEUE);
    thread::Builder::new().name("follow".into()).spawn(move || {
        for line in lines {
            if sender.send(line.and_then(|line| message(&line))).is_err() {
                break;
            }
        }
    })?;
    Ok(Follower { messages, idle: false })
}

fn message(line: &str) -> io::Result<Message> {
    if !line.starts_with(CONTROL) {
        return Ok(Message::Record(serde_json::from_str(line)?));
    }
    match serde_json::from_str(line)? {
        Control { control: Event::Dropped(count) } => Ok(Message::Dropped(count)),
        Control { control } => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{control:?}"))),
    }
}

impl Iterator for Follower {
    type Item = io::Result<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.idle {
            match self.messages.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {
                    self.idle = true;
                    return Some(Ok(Message::Idle));
                }
            }
        }
        self.idle = false;
        self.messages.recv().ok()
    }
}
