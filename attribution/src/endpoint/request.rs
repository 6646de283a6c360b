//! Facts from a request: model, streaming, session. Prompts are skipped and never stored.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::entry::SessionEntry;
use super::operation::MAX_MODEL_BYTES;
use super::session::{Inner, MAX_INNER_BYTES, MAX_SESSION_BYTES, clean};
use crate::decode::json::{Keep, PointerError, Pointers, PointersBuilder, Scalar, Scanner, Slot, State};

/// Longest flag that is kept, in bytes.
const MAX_FLAG_BYTES: usize = 8;

#[cfg(test)]
mod tests;

/// What a request says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The model it asks for.
    pub model: Option<String>,
    /// Whether it asks for a stream.
    pub stream: Option<bool>,
    /// Whether it asks for usage in the stream (OpenAI `stream_options.include_usage`).
    pub include_usage: Option<bool>,
    /// The client's own session id.
    pub session_id: Option<String>,
    /// Whether the whole body was read and was JSON.
    pub complete: bool,
}

/// Reads a request: its headers once, then its decoded body in any split.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    scanner: Scanner,
    plan: Arc<RequestPlan>,
    session: Option<String>,
}

/// Where the facts are; made once for a catalogue.
#[derive(Debug)]
pub(super) struct RequestPlan {
    pointers: Arc<Pointers>,
    model: Slot,
    stream: Slot,
    include_usage: Slot,
    session_headers: Vec<String>,
    session_inner_headers: Vec<(String, Inner)>,
    session: Vec<Slot>,
    session_inner: Vec<(Slot, Inner)>,
}

impl RequestFacts {
    /// A reader for one request; `header` looks up a request header by lower-case name.
    pub fn new<'a>(catalogue: &Catalogue, header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let plan = catalogue.request.clone();
        Self { scanner: Scanner::new(plan.pointers.clone()), session: plan.session_of_headers(header), plan }
    }

    /// Reads more of the body, its content encoding already undone.
    pub fn push(&mut self, body: &[u8]) {
        self.scanner.push(body);
    }

    /// What is known so far; `model_in_path` (from [`OperationMatch`](super::OperationMatch)) goes before the body's.
    pub fn facts(&self, model_in_path: Option<&str>) -> Facts {
        let model = model_in_path.or_else(|| self.scanner.text(self.plan.model));
        let flag = |slot| match self.scanner.get(slot) {
            Some(Scalar::Bool(flag)) => Some(*flag),
            _ => None,
        };
        Facts {
            model: model.filter(|model| !model.is_empty()).map(str::to_owned),
            stream: flag(self.plan.stream),
            include_usage: flag(self.plan.include_usage),
            session_id: self.session.clone().or_else(|| self.plan.session_of_body(&self.scanner)),
            complete: self.scanner.state() == State::Complete,
        }
    }
}

impl RequestPlan {
    pub(super) fn compile(entry: &SessionEntry) -> Result<Self, PointerError> {
        let mut builder = PointersBuilder::default();
        let mut want = |pointer: &str, limit| builder.want(pointer, Keep::First, limit);
        let mut plan = Self {
            pointers: Arc::default(),
            model: want("/model", MAX_MODEL_BYTES)?,
            stream: want("/stream", MAX_FLAG_BYTES)?,
            include_usage: want("/stream_options/include_usage", MAX_FLAG_BYTES)?,
            session_headers: entry.headers.clone(),
            session_inner_headers: Vec::new(),
            session: Vec::new(),
            session_inner: Vec::new(),
        };
        for pointer in &entry.body {
            plan.session.push(want(pointer, MAX_SESSION_BYTES)?);
        }
        for inside in &entry.inside {
            let inner = Inner::compile(&inside.pointer)?;
            if let Some(header) = &inside.header {
                plan.session_inner_headers.push((header.clone(), inner.clone()));
            }
            if let Some(body) = &inside.body {
                plan.session_inner.push((want(body, MAX_INNER_BYTES)?, inner));
            }
        }
        plan.pointers = Arc::new(builder.build());
        Ok(plan)
    }

    fn session_of_headers<'a>(&self, header: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let plain = self.session_headers.iter().find_map(|name| clean(header(name)?));
        let inner = || self.session_inner_headers.iter().find_map(|(name, inner)| inner.look(header(name)?));
        plain.or_else(inner)
    }

    fn session_of_body(&self, body: &Scanner) -> Option<String> {
        let plain = self.session.iter().find_map(|slot| clean(body.text(*slot)?));
        let inner = || self.session_inner.iter().find_map(|(slot, inner)| inner.look(body.text(*slot)?));
        plain.or_else(inner)
    }
}
