//! The requests and responses of one connection.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::framing::{request_body, response_body};
use super::inbound::{FIELD_LIMIT, Inbound, Phase, parse_request, parse_response, without_leading_line_ends};
use super::sniff::{looks_like_request, looks_like_response};
use crate::decode::Outcome;
use crate::decode::http::{BrokenReason, Event, ExchangeId, Side, Sink};

/// Most requests that wait for their response; with more, the connection is given up.
const PENDING_LIMIT: usize = 64;

/// A request whose response is not whole.
struct Pending {
    id: ExchangeId,
    /// The method decides how the response ends (RFC 9112 section 6.3).
    is_head: bool,
    is_connect: bool,
}

/// Bytes passed over because they could not be placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// From the client, in bytes.
    pub request_bytes: u64,
    /// From the server, in bytes.
    pub response_bytes: u64,
}

/// One client connection.
///
/// Calls must come in the order in which the client wrote and read; how the bytes are cut does not matter. A
/// connection joined in its middle is read from the first call that starts with a request.
pub struct Exchanges {
    request: Inbound,
    response: Inbound,
    pending: VecDeque<Pending>,
    next_id: ExchangeId,
}

impl Default for Exchanges {
    fn default() -> Self {
        Self::new()
    }
}

impl Exchanges {
    /// A connection of which nothing has been seen.
    pub fn new() -> Self {
        Self { request: Inbound::new(), response: Inbound::new(), pending: VecDeque::new(), next_id: 0 }
    }

    /// Bytes passed over so far.
    pub fn skipped(&self) -> Skipped {
        Skipped { request_bytes: self.request.skipped, response_bytes: self.response.skipped }
    }

    /// Whether bytes that the client read answer a request that was not seen yet: nothing is open.
    pub fn answers_early(&self, bytes: &[u8]) -> bool {
        let idle = |inbound: &Inbound| matches!(inbound.phase, Phase::Head) && inbound.head.is_empty();
        self.pending.is_empty()
            && idle(&self.request)
            && idle(&self.response)
            && looks_like_response(bytes) == Outcome::Match(())
    }

    /// Bytes that the client wrote at `now_ns`.
    pub fn request_bytes(&mut self, bytes: &[u8], now_ns: u64, sink: &mut impl Sink) {
        if matches!(self.request.phase, Phase::Lost) && looks_like_request(bytes) != Outcome::NoMatch {
            self.request.enter(Phase::Head);
        }
        self.bytes(Side::Request, bytes, now_ns, sink);
    }

    /// Bytes that the client read at `now_ns`.
    pub fn response_bytes(&mut self, bytes: &[u8], now_ns: u64, sink: &mut impl Sink) {
        let expected = !self.pending.is_empty() && looks_like_response(bytes) != Outcome::NoMatch;
        if matches!(self.response.phase, Phase::Lost) && expected {
            self.response.enter(Phase::Head);
        }
        self.bytes(Side::Response, bytes, now_ns, sink);
    }

    /// The client wrote `n` bytes that were not captured. Inside data whose length is known they are passed
    /// over; elsewhere the direction is lost until the connection ends.
    pub fn request_gap(&mut self, n: u64, now_ns: u64, sink: &mut impl Sink) {
        self.gap(Side::Request, n, now_ns, sink);
    }

    /// The client read `n` bytes that were not captured; as [`Exchanges::request_gap`].
    pub fn response_gap(&mut self, n: u64, now_ns: u64, sink: &mut impl Sink) {
        self.gap(Side::Response, n, now_ns, sink);
    }

    /// The connection is closed. Ends a response that lasts until then; what else is open is broken.
    pub fn closed(&mut self, now_ns: u64, sink: &mut impl Sink) {
        if let Phase::Body { id, body } = &self.response.phase
            && body.ends_at_close()
        {
            let id = *id;
            self.end(Side::Response, id, now_ns, sink);
        }
        let request_open = match &self.request.phase {
            Phase::Body { .. } => true,
            Phase::Head => !self.request.head.is_empty(),
            _ => false,
        };
        if request_open {
            self.break_request(BrokenReason::Closed, sink);
        }
        if !self.pending.is_empty() {
            self.break_response(BrokenReason::Closed, sink);
        }
        self.request.enter(Phase::Dead(BrokenReason::Closed));
        self.response.enter(Phase::Dead(BrokenReason::Closed));
    }

    fn inbound(&mut self, side: Side) -> &mut Inbound {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    fn bytes(&mut self, side: Side, bytes: &[u8], now_ns: u64, sink: &mut impl Sink) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let inbound = self.inbound(side);
            let used = match &mut inbound.phase {
                Phase::Tunnel(None) => return,
                Phase::Tunnel(Some(id)) => return sink.event(Event::body(side, *id, rest)),
                Phase::Lost | Phase::Dead(_) => return inbound.skip(rest.len() as u64),
                Phase::Head => self.head(side, rest, now_ns, sink),
                Phase::Body { id, body } => {
                    let id = *id;
                    let advance = body.advance(rest, |bytes| sink.event(Event::body(side, id, bytes)));
                    advance.map(|advance| {
                        if advance.done {
                            self.end(side, id, now_ns, sink);
                        }
                        advance.used
                    })
                }
            };
            match used {
                Ok(used) => rest = rest.get(used..).unwrap_or_default(),
                Err(reason) => self.break_side(side, reason, sink),
            }
        }
    }

    fn gap(&mut self, side: Side, n: u64, now_ns: u64, sink: &mut impl Sink) {
        // While a request waits, what is missing may be its answer: the next one must not take its place.
        let awaited = side == Side::Response && !self.pending.is_empty();
        let inbound = self.inbound(side);
        let skipped = match &mut inbound.phase {
            _ if n == 0 => return,
            Phase::Tunnel(None) => return,
            Phase::Tunnel(Some(id)) => return sink.event(Event::body_gap(side, *id, n)),
            Phase::Dead(_) => return inbound.skip(n),
            Phase::Lost if !awaited => return inbound.skip(n),
            Phase::Head if !awaited && !inbound.known && inbound.head.is_empty() => {
                // Joined in the middle, by bytes that were not even captured.
                inbound.enter(Phase::Lost);
                return inbound.skip(n);
            }
            Phase::Head | Phase::Lost => Err(BrokenReason::Gap),
            Phase::Body { id, body } => body.skip(n).map(|done| (*id, done)),
        };
        match skipped {
            Ok((id, done)) => {
                sink.event(Event::body_gap(side, id, n));
                if done {
                    self.end(side, id, now_ns, sink);
                }
            }
            Err(reason) => self.break_side(side, reason, sink),
        }
    }

    /// Takes some of a head; says how many bytes were used.
    fn head(
        &mut self,
        side: Side,
        bytes: &[u8],
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<usize, BrokenReason> {
        let unexpected = side == Side::Response && self.pending.is_empty();
        let inbound = self.inbound(side);
        let start = if inbound.head.is_empty() { without_leading_line_ends(bytes) } else { bytes };
        if start.is_empty() {
            return Ok(bytes.len());
        }
        if unexpected {
            // The answer to a request that was not seen.
            inbound.enter(Phase::Lost);
            return Ok(0);
        }
        let sniff = if side == Side::Request { looks_like_request } else { looks_like_response };
        let taken = match inbound.take_head(start, now_ns, sniff) {
            Err(BrokenReason::NotHttp) if side == Side::Response && !inbound.known => {
                // The rest of a response whose head was not seen.
                inbound.enter(Phase::Lost);
                return Ok(0);
            }
            taken => taken?,
        };
        let Some(taken) = taken else { return Ok(bytes.len()) };
        match side {
            Side::Request => self.begin_request(&taken.head, now_ns, sink)?,
            Side::Response => self.begin_response(&taken.head, now_ns, sink)?,
        }
        Ok(bytes.len() - start.len() + taken.used)
    }

    fn begin_request(
        &mut self,
        head: &Zeroizing<Vec<u8>>,
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<(), BrokenReason> {
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let head = parse_request(head, &mut fields)?;
        let is_connect = head.method == "CONNECT";
        let body = if is_connect { None } else { request_body(head.headers)? };
        if self.pending.len() >= PENDING_LIMIT {
            self.break_response(BrokenReason::TooManyPending, sink);
            return Err(BrokenReason::TooManyPending);
        }
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let at_ns = self.request.head_at_ns;
        sink.event(Event::RequestHead {
            id,
            at_ns,
            method: head.method,
            target: head.target,
            headers: head.headers,
        });
        match self.response.phase {
            Phase::Dead(reason) => sink.event(Event::Broken { id: Some(id), side: Side::Response, reason }),
            _ => self.pending.push_back(Pending { id, is_head: head.method == "HEAD", is_connect }),
        }
        match body {
            Some(body) => self.request.enter(Phase::Body { id, body }),
            None => self.end(Side::Request, id, now_ns, sink),
        }
        if is_connect {
            // What follows belongs to the tunnel, unless the response refuses it.
            self.request.enter(Phase::Tunnel(None));
        }
        Ok(())
    }

    fn begin_response(
        &mut self,
        head: &Zeroizing<Vec<u8>>,
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<(), BrokenReason> {
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let head = parse_response(head, &mut fields)?;
        let status = head.status;
        if (100..200).contains(&status) && status != 101 {
            return Ok(());
        }
        let Some(&Pending { id, is_head, is_connect }) = self.pending.front() else { return Ok(()) };
        let tunnel = status == 101 || (is_connect && (200..300).contains(&status));
        let body = if tunnel { None } else { response_body(status, is_head, head.headers)? };
        let at_ns = self.response.head_at_ns;
        sink.event(Event::ResponseHead { id, at_ns, status, headers: head.headers });
        if tunnel {
            self.tunnel(id, sink);
            return Ok(());
        }
        if is_connect && matches!(self.request.phase, Phase::Tunnel(None)) {
            self.request.enter(Phase::Head);
        }
        match body {
            Some(body) => self.response.enter(Phase::Body { id, body }),
            None => self.end(Side::Response, id, now_ns, sink),
        }
        Ok(())
    }

    fn tunnel(&mut self, id: ExchangeId, sink: &mut impl Sink) {
        sink.event(Event::Upgraded { id });
        self.pending.pop_front();
        if !self.pending.is_empty() {
            self.break_response(BrokenReason::NotHttp, sink);
        }
        if matches!(self.request.phase, Phase::Body { .. }) {
            self.break_request(BrokenReason::NotHttp, sink);
        }
        self.request.enter(Phase::Tunnel(Some(id)));
        self.response.enter(Phase::Tunnel(Some(id)));
    }

    fn end(&mut self, side: Side, id: ExchangeId, at_ns: u64, sink: &mut impl Sink) {
        self.inbound(side).enter(Phase::Head);
        if side == Side::Response {
            self.pending.pop_front();
        }
        sink.event(Event::end(side, id, at_ns));
    }

    fn break_side(&mut self, side: Side, reason: BrokenReason, sink: &mut impl Sink) {
        match side {
            Side::Request => self.break_request(reason, sink),
            Side::Response => self.break_response(reason, sink),
        }
    }

    fn break_request(&mut self, reason: BrokenReason, sink: &mut impl Sink) {
        let id = match &self.request.phase {
            Phase::Body { id, .. } => Some(*id),
            _ => None,
        };
        sink.event(Event::Broken { id, side: Side::Request, reason });
        // A direction that merely does not speak HTTP now may do so later.
        self.request.enter(match reason {
            BrokenReason::NotHttp => Phase::Lost,
            _ => Phase::Dead(reason),
        });
    }

    fn break_response(&mut self, reason: BrokenReason, sink: &mut impl Sink) {
        if self.pending.is_empty() {
            sink.event(Event::Broken { id: None, side: Side::Response, reason });
        }
        for Pending { id, .. } in self.pending.drain(..) {
            sink.event(Event::Broken { id: Some(id), side: Side::Response, reason });
        }
        self.response.enter(Phase::Dead(reason));
    }
}
