//! The server-sent event stream (WHATWG HTML, section 9.2.6 "Interpreting an event stream").

#[cfg(test)]
mod tests;

/// Longest data of one event, and longest line, in bytes. A larger event is left out.
const EVENT_LIMIT: usize = 1024 * 1024;
/// Longest event name, in bytes. A larger one also makes its event left out.
const NAME_LIMIT: usize = 1024;
/// Name of an event that gives none.
const DEFAULT_NAME: &str = "message";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One dispatched event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field, or `message` when there was none.
    pub event: &'a str,
    /// The `data` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// Reads an event stream that comes in pieces of any size.
#[derive(Default)]
pub struct Decoder {
    /// The beginning of the line under way.
    line: Vec<u8>,
    /// That line is over the limit: nothing of it is kept.
    line_lost: bool,
    /// The last line ended in CR: an LF right after it belongs to the same line end.
    after_cr: bool,
    /// The first line, where a byte order mark may stand, is behind.
    past_first_line: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The event under way is over a limit.
    too_large: bool,
    skipped: u64,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many events were left out because they were over 1 MiB.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next `bytes` and calls `sink` for each event they complete. An event is complete at its
    /// empty line; one that the stream ends in is never told, as the standard asks.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (line, ending) = rest.split_at(end);
            self.end_line(line, sink);
            rest = match ending {
                [b'\r', b'\n', next @ ..] | [_, next @ ..] => next,
                [] => ending,
            };
            self.after_cr = ending == b"\r";
        }
        self.keep(rest);
    }

    /// Adds to the line under way, up to the limit.
    fn keep(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > EVENT_LIMIT {
            self.line_lost = true;
            self.line = Vec::new();
        }
        if !self.line_lost {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self, part: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        if self.line.is_empty() && !self.line_lost {
            return self.whole_line(part, sink);
        }
        self.keep(part);
        if std::mem::take(&mut self.line_lost) {
            self.past_first_line = true;
            self.too_large = true;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        self.whole_line(&line, sink);
        line.clear();
        self.line = line;
    }

    fn whole_line(&mut self, line: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let first = !std::mem::replace(&mut self.past_first_line, true);
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(line) if first => line,
            _ => line,
        };
        if line.is_empty() {
            return self.dispatch(sink);
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add_data(value),
            b"event" if value.len() > NAME_LIMIT => self.too_large = true,
            b"event" => self.name = value.to_vec(),
            // Comments (an empty field name), id, retry and unknown fields.
            _ => {}
        }
    }

    fn add_data(&mut self, value: &[u8]) {
        if self.data.len() + value.len() >= EVENT_LIMIT {
            self.too_large = true;
            self.data = Vec::new();
        }
        if self.too_large {
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
    }

    fn dispatch(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.too_large {
            self.skipped = self.skipped.saturating_add(1);
        } else if self.has_data {
            let name = String::from_utf8_lossy(&self.name);
            let event = if name.is_empty() { DEFAULT_NAME } else { &name };
            sink(Event { event, data: &self.data });
        }
        self.name.clear();
        self.data.clear();
        self.has_data = false;
        self.too_large = false;
    }
}
