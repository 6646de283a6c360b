//! The requests and responses of one connection: one exchange for each stream.

use std::collections::BTreeMap;

use super::frames::{Frames, Part};
use super::headers::{Block, FIELD_LIMIT, Fields, HeaderBlocks};
use super::join::{PREFACE, looks_like_frames};
use crate::decode::http::{BrokenReason, Event, ExchangeId, Headers, Side, Sink};

/// Most streams open at one time; with more, the connection is given up.
const STREAM_LIMIT: usize = 1024;

/// A stream whose response is not whole.
struct Stream {
    id: ExchangeId,
    /// Its request is whole, or can no longer be read.
    request_done: bool,
    /// The final response head was told.
    answered: bool,
    /// The request asked for a tunnel, or for another protocol (RFC 9113 section 8.5, RFC 8441).
    connect: bool,
}

/// What the next byte of a direction is.
enum Phase {
    /// Of the preface, after this many.
    Preface(usize),
    /// Unknown until a call starts with frames.
    Joining,
    /// Of a frame.
    Frames,
    /// Unknown for good.
    Dead(BrokenReason),
}

struct Direction {
    phase: Phase,
    frames: Frames,
    headers: HeaderBlocks,
}

/// One client connection.
///
/// Calls must come in the order in which the client wrote and read; how the bytes are cut does not matter. Bytes
/// that were not captured are passed over inside data; elsewhere the direction is lost, because the frames and
/// header tables that follow depend on them.
pub struct Exchanges {
    request: Direction,
    response: Direction,
    streams: BTreeMap<u32, Stream>,
    /// The newest stream of the client.
    newest: u32,
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
        Self::with(Phase::Preface(0), Phase::Frames, HeaderBlocks::new)
    }

    /// A connection whose beginning was not seen; the next bytes of the client begin a frame (see
    /// [`looks_like_requests`](super::looks_like_requests)).
    pub fn joined() -> Self {
        Self::with(Phase::Frames, Phase::Joining, HeaderBlocks::joined)
    }

    fn with(request: Phase, response: Phase, headers: fn() -> HeaderBlocks) -> Self {
        let direction = |phase| Direction { phase, frames: Frames::default(), headers: headers() };
        Self {
            request: direction(request),
            response: direction(response),
            streams: BTreeMap::new(),
            newest: 0,
            next_id: 0,
        }
    }

    /// Bytes that one side wrote at `now_ns`.
    pub fn bytes(&mut self, side: Side, bytes: &[u8], now_ns: u64, sink: &mut impl Sink) {
        let direction = self.direction(side);
        let mut rest = bytes;
        match &mut direction.phase {
            Phase::Dead(_) => return,
            Phase::Joining if bytes.is_empty() || !looks_like_frames(bytes) => return,
            Phase::Preface(seen) => {
                let left = PREFACE.get(*seen..).unwrap_or_default();
                let now = left.len().min(bytes.len());
                if left.get(..now) != bytes.get(..now) {
                    return self.break_side(side, BrokenReason::BadFrame, sink);
                }
                *seen += now;
                rest = bytes.get(now..).unwrap_or_default();
                if *seen < PREFACE.len() {
                    return;
                }
            }
            Phase::Joining | Phase::Frames => {}
        }
        direction.phase = Phase::Frames;
        let mut frames = std::mem::take(&mut direction.frames);
        let read = frames.push(rest, now_ns, &mut |part| self.part(side, part, now_ns, sink));
        self.after(side, frames, read, sink);
    }

    /// One side wrote `n` bytes that were not captured.
    pub fn gap(&mut self, side: Side, n: u64, now_ns: u64, sink: &mut impl Sink) {
        let direction = self.direction(side);
        match direction.phase {
            _ if n == 0 => return,
            Phase::Dead(_) | Phase::Joining => return,
            Phase::Preface(_) => return self.break_side(side, BrokenReason::LostPlace, sink),
            Phase::Frames => {}
        }
        let mut frames = std::mem::take(&mut direction.frames);
        let read = frames.gap(n, &mut |part| self.part(side, part, now_ns, sink));
        self.after(side, frames, read, sink);
    }

    /// The connection is closed; what is open is broken.
    pub fn closed(&mut self, sink: &mut impl Sink) {
        for side in [Side::Request, Side::Response] {
            if !matches!(self.direction(side).phase, Phase::Dead(_)) && !self.streams.is_empty() {
                self.break_side(side, BrokenReason::Closed, sink);
            }
            self.direction(side).phase = Phase::Dead(BrokenReason::Closed);
        }
    }

    /// Why nothing more of a direction is read, if so.
    pub fn lost(&self) -> Option<BrokenReason> {
        [&self.request, &self.response].into_iter().find_map(|direction| match direction.phase {
            Phase::Dead(reason) if reason != BrokenReason::Closed => Some(reason),
            _ => None,
        })
    }

    /// Whether the next byte of the client begins a frame.
    pub fn at_boundary(&self) -> bool {
        matches!(self.request.phase, Phase::Dead(_)) || self.request.frames.at_boundary()
    }

    fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    fn after(&mut self, side: Side, frames: Frames, read: Result<(), BrokenReason>, sink: &mut impl Sink) {
        match read {
            Ok(()) => self.direction(side).frames = frames,
            Err(reason) => self.break_side(side, reason, sink),
        }
    }

    fn part(
        &mut self,
        side: Side,
        part: Part<'_>,
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<(), BrokenReason> {
        let headers = &mut self.direction(side).headers;
        match part {
            Part::Headers { header, payload, at_ns } => {
                let Some(block) = headers.frame(header, payload, at_ns)? else { return Ok(()) };
                match side {
                    Side::Request => self.request_block(&block, now_ns, sink)?,
                    Side::Response => self.response_block(&block, now_ns, sink),
                }
            }
            _ if headers.is_open() => return Err(BrokenReason::BadFrame),
            Part::Data { stream, bytes } => {
                if let Some(id) = self.reads(side, stream) {
                    sink.event(Event::body(side, id, bytes));
                }
            }
            Part::DataGap { stream, bytes } => {
                if let Some(id) = self.reads(side, stream) {
                    sink.event(Event::body_gap(side, id, bytes));
                }
            }
            Part::DataEnd { stream } => self.end(side, stream, now_ns, sink),
            Part::Reset { stream } => self.break_stream(stream, BrokenReason::Reset, sink),
            Part::GoAway { last } if side == Side::Response => {
                let refused: Vec<u32> =
                    self.streams.range(last.saturating_add(1)..).map(|(stream, _)| *stream).collect();
                for stream in refused {
                    self.break_stream(stream, BrokenReason::GoneAway, sink);
                }
            }
            Part::GoAway { .. } => {}
        }
        Ok(())
    }

    /// The exchange of a stream whose body is told.
    fn reads(&self, side: Side, stream: u32) -> Option<ExchangeId> {
        let known = self.streams.get(&stream)?;
        let open = match side {
            Side::Request => !known.request_done,
            Side::Response => known.answered,
        };
        open.then_some(known.id)
    }

    fn request_block(
        &mut self,
        block: &Block,
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<(), BrokenReason> {
        let Block { stream, end_stream, at_ns, ref fields, .. } = *block;
        if stream > self.newest {
            if stream.is_multiple_of(2) {
                return Err(BrokenReason::BadFrame);
            }
            self.newest = stream;
            if self.streams.len() >= STREAM_LIMIT {
                self.break_side(Side::Response, BrokenReason::TooManyStreams, sink);
                return Err(BrokenReason::TooManyStreams);
            }
            self.begin(stream, at_ns, fields, sink);
        }
        // A second block is the trailers.
        if end_stream {
            self.end(Side::Request, stream, now_ns, sink);
        }
        Ok(())
    }

    /// Tells a request. One whose method is not known is none that could be told.
    fn begin(&mut self, stream: u32, at_ns: u64, fields: &Fields, sink: &mut impl Sink) {
        let Some(method) = fields.text(":method") else { return };
        let (authority, protocol) = (fields.text(":authority"), fields.text(":protocol"));
        let connect = method == "CONNECT";
        let (method, target) = match (connect, protocol) {
            // The same request in HTTP/1.1 is a GET that asks for an upgrade (RFC 8441 section 5).
            (true, Some(_)) => ("GET", fields.text(":path")),
            (true, None) => (method, authority),
            (false, _) => (method, fields.text(":path")),
        };
        let mut list = [httparse::EMPTY_HEADER; FIELD_LIMIT + 2];
        let own = fields.iter().filter(|(name, _)| !name.starts_with(':'));
        let moved = [("host", authority), ("upgrade", protocol)];
        let moved = moved.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes())));
        let mut count = 0;
        for (slot, (name, value)) in list.iter_mut().zip(moved.chain(own)) {
            *slot = httparse::Header { name, value };
            count += 1;
        }
        let headers = Headers(list.get(..count).unwrap_or_default());
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        sink.event(Event::RequestHead { id, at_ns, method, target: target.unwrap_or_default(), headers });
        match self.response.phase {
            Phase::Dead(reason) => sink.event(Event::Broken { id: Some(id), side: Side::Response, reason }),
            _ => {
                let known = Stream { id, request_done: false, answered: false, connect };
                self.streams.insert(stream, known);
            }
        }
    }

    fn response_block(&mut self, block: &Block, now_ns: u64, sink: &mut impl Sink) {
        let Block { stream, end_stream, at_ns, ref fields, promised } = *block;
        let Some(known) = self.streams.get_mut(&stream).filter(|_| !promised) else { return };
        let status = fields.text(":status").and_then(|status| status.parse::<u16>().ok());
        if let Some(status) = status.filter(|status| *status >= 200 && !known.answered) {
            let mut list = [httparse::EMPTY_HEADER; FIELD_LIMIT];
            let own = fields.iter().filter(|(name, _)| !name.starts_with(':'));
            let mut count = 0;
            for (slot, (name, value)) in list.iter_mut().zip(own) {
                *slot = httparse::Header { name, value };
                count += 1;
            }
            let headers = Headers(list.get(..count).unwrap_or_default());
            let id = known.id;
            known.answered = true;
            sink.event(Event::ResponseHead { id, at_ns, status, headers });
            if known.connect && status < 300 {
                sink.event(Event::Upgraded { id });
            }
        }
        if end_stream {
            self.end(Side::Response, stream, now_ns, sink);
        }
    }

    fn end(&mut self, side: Side, stream: u32, at_ns: u64, sink: &mut impl Sink) {
        match side {
            Side::Request => {
                let Some(known) = self.streams.get_mut(&stream).filter(|known| !known.request_done) else {
                    return;
                };
                known.request_done = true;
                sink.event(Event::end(side, known.id, at_ns));
            }
            // What the client may still send of its request changes nothing.
            Side::Response => {
                if let Some(known) = self.streams.remove(&stream) {
                    sink.event(Event::end(side, known.id, at_ns));
                }
            }
        }
    }

    fn break_stream(&mut self, stream: u32, reason: BrokenReason, sink: &mut impl Sink) {
        if let Some(Stream { id, .. }) = self.streams.remove(&stream) {
            sink.event(Event::Broken { id: Some(id), side: Side::Response, reason });
        }
    }

    fn break_side(&mut self, side: Side, reason: BrokenReason, sink: &mut impl Sink) {
        let mut told = false;
        for known in self.streams.values_mut() {
            if side == Side::Response || !known.request_done {
                known.request_done = true;
                told = true;
                sink.event(Event::Broken { id: Some(known.id), side, reason });
            }
        }
        if side == Side::Response {
            self.streams.clear();
        }
        if !told {
            sink.event(Event::Broken { id: None, side, reason });
        }
        let direction = self.direction(side);
        (direction.phase, direction.frames) = (Phase::Dead(reason), Frames::default());
    }
}
