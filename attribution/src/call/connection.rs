//! One client connection: its HTTP exchanges and the calls among them.

use std::net::SocketAddr;

use super::reader::Reader;
use super::websocket::Session;
use super::{Call, Finished, Toolkit};
use crate::decode::http::{BrokenReason, Event, Side};
use crate::event::{Direction, Plaintext, ProcessKey, Task};
use crate::flow::{Host, HostEvidence};

/// Calls under way on one connection (HTTP/2 streams, HTTP/1 pipelining); more are not followed.
const MAX_CALLS: usize = 1024;
/// Requests without a call on a host that also serves models, after which the connection is given up.
const MAX_STRANGE: u32 = 32;
/// Most bytes of answers that wait for their request.
const MAX_EARLY: usize = 64 * 1024;
/// Why calls have no end when what follows cannot be placed.
const REPOSITIONED: &str = "the place of what followed on its connection is not known";

/// Why the request that changed the protocol has no end.
const OTHER_PROTOCOL: &str = "the connection changed to another protocol, which is not read";
/// Why the last turn of a session has no end.
const CLOSED: &str = "the connection was closed";

/// What is known of where a connection goes before its first request is read.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Host by SNI, DNS or configuration.
    pub host: Option<Host>,
    /// Remote end, when bound to a flow.
    pub remote: Option<SocketAddr>,
    /// There is no TLS on it.
    pub cleartext: bool,
}

/// A part of what one read or write carried.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Who called.
    pub task: &'a Task,
    /// Direction.
    pub direction: Direction,
    /// Bytes of this direction before this part.
    pub position: u64,
    /// Plaintext.
    pub bytes: &'a [u8],
    /// When, nanoseconds.
    pub time_ns: u64,
}

/// A connection whose plaintext is read.
pub struct Connection {
    /// Who was first seen to use it.
    pub owner: ProcessKey,
    /// Socket cookie, 0 when unbound.
    pub cookie: u64,
    /// Why it is unbound, if so.
    pub unbound_reason: &'static str,
    /// Last activity, nanoseconds.
    pub last_ns: u64,
    /// Whether any request went to a model endpoint; unknown while none has told.
    pub requests: Option<bool>,
    /// A request asked for a tunnel (RFC 9110 section 9.3.6).
    pub tunnel: bool,
    /// Host and provider that the requests told.
    pub told: Option<(Host, String)>,
    route: Route,
    reader: Reader,
    calls: Vec<Call>,
    /// WebSockets that calls opened.
    sessions: Vec<Session>,
    /// Requests that went elsewhere.
    strange: u32,
    /// Requests without an answer.
    waiting: u32,
    /// Position of the next byte of writes and reads; unknown before the first.
    next: [Option<u64>; 2],
    /// Read by one thread before the write of another returned: waits for what it answers.
    early: Vec<Early>,
}

/// A read before its request.
struct Early {
    task: Task,
    position: u64,
    bytes: Plaintext,
    time_ns: u64,
}

impl Connection {
    /// A connection of which nothing was read.
    pub fn new(owner: ProcessKey, cookie: u64, unbound_reason: &'static str, route: Route) -> Self {
        Self {
            owner,
            cookie,
            unbound_reason,
            last_ns: 0,
            requests: None,
            tunnel: false,
            told: None,
            route,
            reader: Reader::of(&[]),
            calls: Vec::new(),
            sessions: Vec::new(),
            strange: 0,
            waiting: 0,
            next: [None; 2],
            early: Vec::new(),
        }
    }

    /// Whether a request was written and its answer not read to the end.
    pub fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// Why nothing more of it can be read, if so.
    pub fn lost(&self) -> Option<BrokenReason> {
        self.reader.lost()
    }

    /// Whether a write can only be the first of another connection on the same TLS object.
    pub fn begins_anew(&self, piece: Piece<'_>) -> bool {
        piece.direction == Direction::Write && self.reader.begins_anew(piece.bytes, self.waits())
    }

    /// Takes a part of a read or write. What its position shows to be missing before it becomes a gap.
    pub fn data(&mut self, kit: &Toolkit, piece: Piece<'_>, out: &mut Vec<Finished>) {
        if self.is_early(piece) {
            let Piece { task, position, bytes, time_ns, .. } = piece;
            self.early.push(Early { task: task.clone(), position, bytes: Plaintext::copy(bytes), time_ns });
            return;
        }
        // With a request missing in between, whose answer it was is not known.
        if piece.direction == Direction::Write && piece.position != self.next[0].unwrap_or(0) {
            self.early.clear();
        }
        self.take(kit, piece, out);
        if piece.direction == Direction::Write {
            for Early { task, position, bytes, time_ns } in std::mem::take(&mut self.early) {
                let direction = Direction::Read;
                self.take(kit, Piece { task: &task, direction, position, bytes: &bytes, time_ns }, out);
            }
        }
    }

    fn is_early(&self, piece: Piece<'_>) -> bool {
        let waiting: usize = self.early.iter().map(|early| early.bytes.len()).sum();
        piece.direction == Direction::Read
            && (waiting > 0 || self.reader.answers_early(piece.bytes))
            && waiting + piece.bytes.len() <= MAX_EARLY
    }

    fn take(&mut self, kit: &Toolkit, piece: Piece<'_>, out: &mut Vec<Finished>) {
        let Piece { direction, position, bytes, time_ns, .. } = piece;
        self.last_ns = self.last_ns.max(time_ns);
        let missing = self.place(piece, out);
        let end = position.saturating_add(bytes.len() as u64);
        match direction {
            Direction::Write => self.next[0] = Some(end),
            Direction::Read => self.next[1] = Some(end),
        }
        let side = match direction {
            Direction::Write => Side::Request,
            Direction::Read => Side::Response,
        };
        let (reader, mut reading) = self.reading(kit, piece.task, out);
        let mut sink = |event: Event<'_>| reading.event(event);
        reader.gap(side, missing, time_ns, &mut sink);
        reader.bytes(side, bytes, time_ns, &mut sink);
    }

    /// How many bytes are missing before a piece. When that cannot be told, what was read so far must not
    /// touch what comes: open calls end and reading starts anew.
    fn place(&mut self, piece: Piece<'_>, out: &mut Vec<Finished>) -> u64 {
        // Both directions are counted from the first request of a client.
        let start = if piece.position == 0 { [Some(0); 2] } else { [None; 2] };
        if self.next == [None; 2] {
            self.next = start;
            if piece.direction == Direction::Write {
                self.reader = Reader::of(piece.bytes);
            }
        }
        let missing = match (piece.direction, self.next) {
            (Direction::Write, [Some(next), _]) | (Direction::Read, [_, Some(next)]) => {
                piece.position.checked_sub(next)
            }
            // Which of several requests the first bytes answer is not known.
            (Direction::Read, _) if self.waiting > 1 => None,
            _ => Some(0),
        };
        missing.unwrap_or_else(|| {
            self.abandon(piece.time_ns, REPOSITIONED, out);
            let first = if piece.direction == Direction::Write { piece.bytes } else { &[] };
            (self.reader, self.waiting, self.next) = (Reader::of(first), 0, start);
            0
        })
    }

    fn reading<'a>(
        &'a mut self,
        kit: &'a Toolkit,
        task: &'a Task,
        out: &'a mut Vec<Finished>,
    ) -> (&'a mut Reader, Reading<'a>) {
        let Self {
            reader, calls, sessions, route, requests, tunnel, told, strange, waiting, last_ns, ..
        } = self;
        let time_ns = *last_ns;
        (
            reader,
            Reading {
                kit,
                task,
                route,
                calls,
                sessions,
                requests,
                tunnel,
                told,
                strange,
                waiting,
                time_ns,
                out,
            },
        )
    }

    /// The connection was seen to close. That may be the end of a response; what else is open is cut.
    pub fn close(&mut self, kit: &Toolkit, now_ns: u64, out: &mut Vec<Finished>) {
        let task = Task::default();
        let (reader, mut reading) = self.reading(kit, &task, out);
        reader.closed(now_ns, &mut |event: Event<'_>| reading.event(event));
        self.abandon(now_ns, CLOSED, out);
    }

    /// Nothing more will be read of the connection; `reason` is told of calls that are open.
    pub fn abandon(&mut self, now_ns: u64, reason: &str, out: &mut Vec<Finished>) {
        out.extend(self.calls.drain(..).map(|call| call.finish(now_ns, Some(reason))));
        for session in self.sessions.drain(..) {
            session.finish(now_ns, reason, out);
        }
    }
}

/// One pass of the HTTP reader over new bytes.
struct Reading<'a> {
    kit: &'a Toolkit,
    task: &'a Task,
    route: &'a Route,
    calls: &'a mut Vec<Call>,
    sessions: &'a mut Vec<Session>,
    requests: &'a mut Option<bool>,
    tunnel: &'a mut bool,
    strange: &'a mut u32,
    waiting: &'a mut u32,
    told: &'a mut Option<(Host, String)>,
    time_ns: u64,
    out: &'a mut Vec<Finished>,
}

impl Reading<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::RequestHead { id, at_ns, method, target, headers } => {
                let header = |name: &str| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
                self.request(id, at_ns, method, target, header);
            }
            Event::RequestBody { id, bytes } => {
                if let Some(call) = self.call(id) {
                    call.request_body(bytes);
                } else if let Some(session) = session(self.sessions, id) {
                    session.client(bytes, self.task, self.time_ns);
                }
            }
            Event::RequestBodyGap { id, bytes } => {
                if let Some(call) = self.call(id) {
                    call.request_gap();
                } else if let Some(session) = session(self.sessions, id) {
                    session.client_gap(bytes, self.task, self.time_ns);
                }
            }
            Event::ResponseHead { id, at_ns, status, headers } => {
                let kit = self.kit;
                let header = |name: &str| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
                if let Some(call) = self.call(id) {
                    call.response_head(kit, at_ns, status, header);
                }
            }
            Event::ResponseBody { id, bytes } => {
                let time_ns = self.time_ns;
                if let Some(call) = self.call(id) {
                    call.response_body(bytes, time_ns);
                } else if let Some(session) = session(self.sessions, id) {
                    session.server(bytes, self.task, self.time_ns, self.out);
                }
            }
            Event::ResponseBodyGap { id, bytes } => {
                if let Some(call) = self.call(id) {
                    call.response_gap();
                } else if let Some(session) = session(self.sessions, id) {
                    session.server_gap(bytes, self.task, self.time_ns, self.out);
                }
            }
            Event::ResponseEnd { id, at_ns } => self.end(id, at_ns, None),
            Event::Upgraded { id } => self.upgraded(id),
            Event::Broken { id: Some(id), side: Side::Response, reason } => {
                let time_ns = self.time_ns;
                self.end(id, time_ns, Some(&reason.to_string()));
            }
            Event::RequestEnd { .. } | Event::Broken { .. } => {}
        }
    }

    fn request<'a>(
        &mut self,
        id: u64,
        at_ns: u64,
        method: &str,
        target: &str,
        header: impl Fn(&str) -> Option<&'a str>,
    ) {
        *self.waiting = self.waiting.saturating_add(1);
        if method == "CONNECT" {
            // It asks a proxy for a way to somewhere: the calls, if any, are inside.
            *self.tunnel = true;
            self.requests.get_or_insert(false);
            return;
        }
        let host = match &self.route.host {
            Some(host) if host.evidence == HostEvidence::Sni => Some(host.clone()),
            known => header("host")
                .and_then(crate::endpoint::normalise)
                .map(|name| Host { name, evidence: HostEvidence::HttpHost })
                .or_else(|| known.clone()),
        };
        // Some hosts serve other things next to models: there one request says nothing of the next.
        let may_follow = host.as_ref().is_some_and(|host| self.kit.catalogue.is_model_host(&host.name));
        let call = Call::begin(self.kit, self.task, host, self.route, id, at_ns, method, target, header);
        match call {
            Some(call) => {
                *self.requests = Some(true);
                *self.told = call.destination();
                if self.calls.len() < MAX_CALLS {
                    self.calls.push(call);
                }
            }
            None => {
                *self.strange = self.strange.saturating_add(1);
                if !may_follow || *self.strange > MAX_STRANGE {
                    self.requests.get_or_insert(false);
                }
            }
        }
    }

    fn call(&mut self, id: u64) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.id() == id)
    }

    /// A call became a session, or something that is not read.
    fn upgraded(&mut self, id: u64) {
        let asked = |call: &Call| call.id() == id && call.asks_for_websocket();
        match self.calls.iter().position(asked) {
            Some(at) => {
                let call = self.calls.remove(at);
                self.sessions.push(call.into_session(self.kit));
            }
            None => self.end(id, 0, Some(OTHER_PROTOCOL)),
        }
    }

    fn end(&mut self, id: u64, at_ns: u64, reason: Option<&str>) {
        if let Some(at) = self.sessions.iter().position(|session| session.id() == id) {
            let session = self.sessions.remove(at);
            session.finish(self.time_ns, reason.unwrap_or(CLOSED), self.out);
        }
        *self.waiting = self.waiting.saturating_sub(1);
        if let Some(at) = self.calls.iter().position(|call| call.id() == id) {
            let call = self.calls.remove(at);
            self.out.push(call.finish(at_ns, reason));
        }
    }
}

fn session(sessions: &mut [Session], id: u64) -> Option<&mut Session> {
    sessions.iter_mut().find(|session| session.id() == id)
}
