//! Reads one response and adds up what it says it used.

use std::sync::Arc;

use proto::v1::Tokens;

use super::decimal::scaled;
use super::plan::{Family, Mark, Plan, Root};
use crate::decode::eventstream;
use crate::decode::json::{Scalar, Scanner, Slot, State};
use crate::endpoint::entry::{CostUnit, Count, HeaderField};

/// Largest believable count of one response, in tokens; larger ones are ignored.
pub const MAX_TOKENS: u64 = 1 << 40;
/// Powers of ten from the reported unit to nano-dollars.
const USD_SHIFT: i32 = 9;
const USD_TICKS_SHIFT: i32 = -1;
const COUNTS: usize = 8;
/// Service tiers that change no price.
const ORDINARY_TIERS: [&str; 4] = ["default", "standard", "auto", "on_demand"];

/// What a response said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Token counts with their quality: `exact`, `header`, `truncated` or `unreported`.
    pub tokens: Tokens,
    /// The model that answered.
    pub model_served: Option<String>,
    /// The response's own id, from its body.
    pub response_id: Option<String>,
    /// Money the provider reports, in 10^-9 US dollars.
    pub provider_cost: Option<u64>,
    /// Input tokens that were written to a cache for an hour; part of the cache writes.
    pub cache_write_1h: u64,
    /// The service tier that it names, one that changes the price before any other.
    pub service_tier: Option<String>,
    /// Documents and messages that could not be read.
    pub skipped: u64,
    /// A stream said that it is over: clients close then without waiting for the end of the body.
    pub ended: bool,
}

/// Reads the decoded body of one response in any split; see [`Meter::takes_events`].
#[derive(Debug, Clone)]
pub struct Meter {
    plan: Arc<Plan>,
    format: Format,
    document: Scanner,
    messages: eventstream::Decoder,
    found: Vec<Found>,
    headers: Vec<Found>,
    /// Whether more than one document may come.
    stream: bool,
    /// Whether the stream said that it is over.
    ended: bool,
    /// Whether bytes are thrown away up to the next line.
    resync: bool,
    skipped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Lines,
    Messages,
    Events,
}

/// What one family found so far.
#[derive(Debug, Clone, Default)]
struct Found {
    counts: [Option<u64>; COUNTS],
    model: Option<String>,
    id: Option<String>,
    cost: Option<u64>,
    tier: Option<String>,
    /// Documents that had counts.
    documents: u64,
    /// Whether the last counts were marked as final.
    done: bool,
    /// Whether the last counts came from a whole document.
    whole: bool,
}

impl Meter {
    /// A meter for a response with this `Content-Type`; `header` looks up a response header by lower-case name.
    pub fn new<'a>(
        plan: Arc<Plan>,
        content_type: Option<&str>,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let format = Format::of(content_type.unwrap_or_default());
        let headers = plan.families.iter().map(|family| Found::of_headers(family, &header)).collect();
        Self {
            format,
            document: Scanner::new(plan.pointers.clone()),
            messages: eventstream::Decoder::new(),
            found: vec![Found::default(); plan.families.len()],
            headers,
            stream: format != Format::Json,
            ended: false,
            resync: false,
            skipped: 0,
            plan,
        }
    }

    /// Whether the body is server-sent events: then decode them and call [`Self::sse_event`] instead of
    /// [`Self::push`].
    pub fn takes_events(&self) -> bool {
        self.format == Format::Events
    }

    /// Reads more of a body that is not server-sent events, its content encoding already undone.
    pub fn push(&mut self, body: &[u8]) {
        match self.format {
            Format::Events => {}
            Format::Messages => self.push_messages(body),
            Format::Json | Format::Lines => self.push_documents(body),
        }
    }

    /// Reads one server-sent event (its type is in the data).
    pub fn sse_event(&mut self, _event: &str, data: &[u8]) {
        self.stream = true;
        if data.trim_ascii() == b"[DONE]" {
            self.ended = true;
            return;
        }
        self.message_part(data);
        self.message_end(true);
    }

    /// Reads a part of a WebSocket message.
    pub fn message_part(&mut self, data: &[u8]) {
        self.stream = true;
        self.document.push(data);
    }

    /// The message is over; it counts only when it `counts`.
    pub fn message_end(&mut self, counts: bool) {
        if counts { self.end_document() } else { self.document.reset() }
    }

    /// What the response said in all. `truncated`: the sensor did not see its end.
    pub fn finish(mut self, truncated: bool) -> Usage {
        let mut cut = truncated;
        if matches!(self.format, Format::Json | Format::Lines) && self.document.started() {
            cut |= self.document.finish() == State::Reading;
            self.end_document();
        }
        cut |= self.format == Format::Messages && !self.messages.at_boundary();
        let damage = self.messages.skipped();
        let skipped = self.skipped + damage.too_large + damage.damaged;
        let cut = cut && !self.ended;
        let (families, stream) = (&self.plan.families, self.stream);
        let body = Total::of(families, &self.found);
        let headers = Total::of(families, &self.headers);
        let missing = cut && !self.is_final(stream);
        let (total, quality) = match (body.counted(), headers.counted()) {
            (true, true) if missing => (headers, "header"),
            (true, _) => (body, if missing { "truncated" } else { "exact" }),
            (false, true) => (headers, "header"),
            (false, false) => (body, if cut { "truncated" } else { "unreported" }),
        };
        let from = |pick: fn(&Found) -> Option<&String>| {
            let counted = self.found.iter().filter(|found| found.documents > 0).find_map(pick);
            counted.or_else(|| self.found.iter().find_map(pick)).cloned()
        };
        Usage {
            tokens: total.tokens(quality),
            model_served: from(|found| found.model.as_ref()),
            response_id: from(|found| found.id.as_ref()),
            provider_cost: self.found.iter().chain(&self.headers).find_map(|found| found.cost),
            cache_write_1h: self.found.iter().find_map(|found| found.get(Count::CacheWrite1h)).unwrap_or(0),
            service_tier: from(|found| found.tier.as_ref()),
            skipped,
            ended: self.ended || (stream && self.is_final(stream)),
        }
    }

    /// Whether the counts that were seen are the last ones of the response.
    fn is_final(&self, stream: bool) -> bool {
        let main = self.plan.families.iter().zip(&self.found);
        let mut counted = main.filter(|(family, found)| !family.add_on && found.documents > 0);
        counted.next().is_some_and(|(family, found)| {
            let running = stream && (family.running || found.documents > 1);
            found.whole && (found.done || !running)
        })
    }

    fn push_documents(&mut self, mut body: &[u8]) {
        while !body.is_empty() {
            if self.resync {
                let Some(line) = memchr::memchr(b'\n', body) else { return };
                self.resync = false;
                body = body.get(line + 1..).unwrap_or_default();
                continue;
            }
            match self.document.state() {
                State::Reading => {
                    let used = self.document.push(body);
                    body = body.get(used..).unwrap_or_default();
                }
                State::Complete => {
                    // More than white space after a document begins the next one.
                    let Some(next) = body.iter().position(|byte| !byte.is_ascii_whitespace()) else { return };
                    self.stream = true;
                    self.end_document();
                    body = body.get(next..).unwrap_or_default();
                }
                State::Invalid => {
                    if self.format == Format::Json {
                        return;
                    }
                    self.skipped += 1;
                    self.document.reset();
                    self.resync = true;
                }
            }
        }
    }

    fn push_messages(&mut self, body: &[u8]) {
        let mut decoder = std::mem::take(&mut self.messages);
        decoder.push(body, |message| {
            self.document.reset();
            self.document.push(&message.payload);
            let inner: Vec<_> = self
                .plan
                .inner
                .iter()
                .filter_map(|slot| self.document.text(*slot)?.to_owned().into())
                .collect();
            self.end_document();
            for text in inner {
                match data_encoding::BASE64.decode(text.as_bytes()) {
                    Ok(document) => {
                        self.document.push(&document);
                        self.end_document();
                    }
                    Err(_) => self.skipped += 1,
                }
            }
        });
        self.messages = decoder;
    }

    /// Takes the values of the current document, whole or not, and makes room for the next one.
    fn end_document(&mut self) {
        let state = self.document.finish();
        self.skipped += u64::from(state == State::Invalid);
        for (family, found) in self.plan.families.iter().zip(&mut self.found) {
            for root in &family.roots {
                found.take(&self.document, root, state == State::Complete);
            }
        }
        self.document.reset();
    }
}

impl Format {
    fn of(content_type: &str) -> Self {
        match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/event-stream" => Self::Events,
            "application/vnd.amazon.eventstream" => Self::Messages,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Self::Lines,
            _ => Self::Json,
        }
    }
}

impl Found {
    fn of_headers<'a>(family: &Family, header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut found = Self::default();
        for (field, name) in &family.headers {
            let Some(value) = header(name) else { continue };
            let count = match field {
                HeaderField::Input => Count::Input,
                HeaderField::Output => Count::Output,
                HeaderField::CacheRead => Count::CacheRead,
                HeaderField::CacheWrite => Count::CacheWrite,
                HeaderField::Cost => {
                    found.cost = scaled(value, USD_SHIFT);
                    continue;
                }
            };
            found.set(count, value);
        }
        found
    }

    /// Later counts replace earlier ones: every family that repeats them sends running totals.
    fn take(&mut self, document: &Scanner, root: &Root, whole: bool) {
        if !root.when.iter().all(|mark| mark.fits(document)) {
            return;
        }
        let mut any = false;
        for (count, slot) in &root.counts {
            any |= number(document, *slot).is_some_and(|text| self.set(*count, text));
        }
        if let Some(text) = root.model.and_then(|slot| document.text(slot)) {
            self.model = Some(text.to_owned());
        }
        if let Some(text) = root.id.and_then(|slot| document.text(slot)) {
            self.id = Some(text.to_owned());
        }
        let tiers =
            || root.tiers.iter().filter_map(|slot| document.text(*slot)).filter(|tier| !tier.is_empty());
        let special = |tier: &&str| !ORDINARY_TIERS.contains(&tier.to_ascii_lowercase().as_str());
        if let Some(tier) = tiers().find(special).or_else(|| tiers().next()) {
            self.tier = Some(tier.to_owned());
        }
        if let Some((slot, unit)) = root.cost {
            let shift = match unit {
                CostUnit::Usd => USD_SHIFT,
                CostUnit::UsdTicks => USD_TICKS_SHIFT,
            };
            self.cost = number(document, slot).and_then(|text| scaled(text, shift)).or(self.cost);
        }
        if any {
            self.documents += 1;
            self.whole = whole;
            self.done = root.done.iter().any(|mark| mark.fits(document));
        }
    }

    fn set(&mut self, count: Count, text: &str) -> bool {
        let value = scaled(text, 0).filter(|value| *value <= MAX_TOKENS);
        if let (Some(place), Some(_)) = (self.counts.get_mut(count as usize), value) {
            *place = value;
        }
        value.is_some()
    }

    fn get(&self, count: Count) -> Option<u64> {
        self.counts.get(count as usize).copied().flatten()
    }

    /// The sum of the extra fields that are there.
    fn sum(&self, counts: &[Count]) -> Option<u64> {
        let values = counts.iter().filter_map(|count| self.get(*count));
        values.reduce(u64::saturating_add)
    }
}

impl Mark {
    fn fits(&self, document: &Scanner) -> bool {
        match document.get(self.at) {
            Some(Scalar::Text { text, cut: false }) => self.is.is_empty() || self.is.contains(text),
            Some(_) => self.is.is_empty(),
            None => false,
        }
    }
}

fn number(document: &Scanner, slot: Slot) -> Option<&str> {
    match document.get(slot)? {
        Scalar::Number(text) => Some(text),
        _ => None,
    }
}

/// The counts of all families together.
#[derive(Debug, Default)]
struct Total {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
}

impl Total {
    fn of(families: &[Family], found: &[Found]) -> Self {
        let main = || families.iter().zip(found).filter(|(family, _)| !family.add_on);
        let first = |count| found.iter().find_map(|found| found.get(count));
        let input = main().find_map(|(family, found)| {
            Some(found.get(Count::Input)?.saturating_add(found.sum(&family.input_plus).unwrap_or(0)))
        });
        let output = main().find_map(|(family, found)| {
            Some(found.get(Count::Output)?.saturating_add(found.sum(&family.output_plus).unwrap_or(0)))
        });
        // All of a short answer can be reasoning.
        let output = output.or_else(|| main().find_map(|(family, found)| found.sum(&family.output_plus)));
        let add_ons = families.iter().zip(found).filter(|(family, _)| family.add_on);
        let extra = |pick: fn(&Family) -> &Vec<Count>| {
            add_ons.clone().filter_map(|(family, found)| found.sum(pick(family))).fold(0, u64::saturating_add)
        };
        Self {
            input: input.map(|count| count.saturating_add(extra(|family| &family.input_plus))),
            output: output.map(|count| count.saturating_add(extra(|family| &family.output_plus))),
            cache_read: first(Count::CacheRead),
            cache_write: first(Count::CacheWrite),
            reasoning: first(Count::Reasoning),
        }
    }

    fn counted(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    fn tokens(self, quality: &str) -> Tokens {
        Tokens {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            reasoning: self.reasoning,
            quality: quality.to_owned(),
        }
    }
}
