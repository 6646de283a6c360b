//! Calls inside a WebSocket: each turn of the model is one.
//!
//! OpenAI's Responses and Realtime messages carry a `type`: a turn goes from `response.create`, or from the
//! server's own `response.created`, to the message that holds the whole response. Gemini Live has no types: a turn
//! goes from the client's first message after the last turn to `turnComplete`.

use std::sync::{Arc, LazyLock};

use crate::decode::json::{Keep, PointerError, Pointers, PointersBuilder, Scalar, Scanner, Slot};
use crate::decode::websocket::{Decoder, Deflate, Part};
use crate::event::Task;
use crate::usage::{Meter, Plan};

use super::exchange::Finished;

/// Longest message type that is compared, in bytes.
const MAX_TYPE: usize = 64;
/// Longest model name that is kept, in bytes.
const MAX_MODEL: usize = 256;
/// Message of the client that asks for a turn.
const CREATE: &str = "response.create";
/// Message of the server that begins a turn by itself (voice activity).
const CREATED: &str = "response.created";
/// Messages of the server that end a turn and hold its usage.
const ENDS: [&str; 4] = ["response.completed", "response.done", "response.incomplete", "response.failed"];
/// Message of the server that ends a turn without usage.
const ERROR: &str = "error";
const REFUSED: &str = "the server reported an error";
const UNREADABLE: &str = "its WebSocket messages could not be read";

/// Where a message says what it is.
struct Facts {
    pointers: Arc<Pointers>,
    kind: Slot,
    models: [Slot; 4],
    turn_complete: Slot,
}

static FACTS: LazyLock<Option<Facts>> = LazyLock::new(|| Facts::compile().ok());

/// One direction: its messages and what the present one says.
struct Direction {
    decoder: Decoder,
    scanner: Scanner,
}

/// A WebSocket to a model endpoint.
pub(super) struct Session {
    id: u64,
    /// What all its turns have in common.
    common: Finished,
    plan: Arc<Plan>,
    model: String,
    client: Direction,
    server: Direction,
    turn: Option<Turn>,
    turns: u64,
}

/// A turn under way.
struct Turn {
    task: Task,
    started_ns: u64,
    first_ns: Option<u64>,
    last_ns: u64,
    /// Its messages have types.
    typed: bool,
    model: String,
    meter: Meter,
}

/// A message that is over.
struct Message {
    kind: String,
    model: Option<String>,
    turn_complete: bool,
    /// All of it was read.
    whole: bool,
}

impl Session {
    pub(super) fn new(id: u64, common: Finished, plan: Arc<Plan>, model: String, extensions: &str) -> Self {
        let agreed = Deflate::agreed(extensions);
        Self {
            id,
            common,
            plan,
            model,
            client: Direction::new(agreed.map(|agreed| agreed.client_alone)),
            server: Direction::new(agreed.map(|agreed| agreed.server_alone)),
            turn: None,
            turns: 0,
        }
    }

    /// Number of the exchange that opened it.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Bytes that the client wrote.
    pub(super) fn client(&mut self, bytes: &[u8], task: &Task, now_ns: u64) {
        self.client_pass(task, now_ns, |decoder, out| decoder.push(bytes, out));
    }

    /// Bytes that the client wrote and that were not captured.
    pub(super) fn client_gap(&mut self, n: u64, task: &Task, now_ns: u64) {
        self.client_pass(task, now_ns, |decoder, out| decoder.gap(n, out));
    }

    /// Bytes that the client read.
    pub(super) fn server(&mut self, bytes: &[u8], task: &Task, now_ns: u64, out: &mut Vec<Finished>) {
        self.server_pass(task, now_ns, out, |decoder, part| decoder.push(bytes, part));
    }

    /// Bytes that the client read and that were not captured.
    pub(super) fn server_gap(&mut self, n: u64, task: &Task, now_ns: u64, out: &mut Vec<Finished>) {
        self.server_pass(task, now_ns, out, |decoder, part| decoder.gap(n, part));
    }

    /// Ends the session. A turn without an end is told with `reason`, and so is a session without any turn: its
    /// credential was used.
    pub(super) fn finish(mut self, now_ns: u64, reason: &str, out: &mut Vec<Finished>) {
        let unreadable = self.client.decoder.is_dead() || self.server.decoder.is_dead();
        let reason = if unreadable { UNREADABLE } else { reason };
        // What a client without message types sends after its last turn may be the end of its audio.
        let asked = self.turn.as_ref().is_some_and(|turn| turn.typed || turn.first_ns.is_some());
        if self.turns == 0 || asked {
            let turn = self.turn.take().unwrap_or_else(|| self.begin(&self.common.task, now_ns, true));
            self.told(turn, Some(reason), out);
        }
    }

    fn client_pass(
        &mut self,
        task: &Task,
        now_ns: u64,
        pass: impl FnOnce(&mut Decoder, &mut dyn FnMut(Part<'_>)),
    ) {
        let mut decoder = std::mem::replace(&mut self.client.decoder, Decoder::new(None));
        pass(&mut decoder, &mut |part| {
            if let Some(message) = self.client.part(part) {
                self.asked(&message, task, now_ns);
            }
        });
        self.client.decoder = decoder;
    }

    fn server_pass(
        &mut self,
        task: &Task,
        now_ns: u64,
        out: &mut Vec<Finished>,
        pass: impl FnOnce(&mut Decoder, &mut dyn FnMut(Part<'_>)),
    ) {
        let mut decoder = std::mem::replace(&mut self.server.decoder, Decoder::new(None));
        pass(&mut decoder, &mut |part| {
            if let (Part::Data(data), Some(turn)) = (part, &mut self.turn) {
                turn.meter.message_part(data);
                turn.first_ns.get_or_insert(now_ns);
                turn.last_ns = now_ns;
            }
            if let Some(message) = self.server.part(part) {
                self.answered(&message, task, now_ns, out);
            }
        });
        self.server.decoder = decoder;
    }

    /// A message of the client is over.
    fn asked(&mut self, message: &Message, task: &Task, now_ns: u64) {
        if let (Some(model), true) = (&message.model, message.kind != CREATE) {
            // The setup of a session.
            self.model.clone_from(model);
            return;
        }
        let typed = !message.kind.is_empty();
        if self.turn.is_some() || (typed && message.kind != CREATE) {
            return;
        }
        let mut turn = self.begin(task, now_ns, typed);
        if let Some(model) = &message.model {
            turn.model.clone_from(model);
        }
        self.turn = Some(turn);
    }

    /// A message of the server is over.
    fn answered(&mut self, message: &Message, task: &Task, now_ns: u64, out: &mut Vec<Finished>) {
        let kind = message.kind.as_str();
        if kind == CREATED && self.turn.is_none() {
            self.turn = Some(Turn { first_ns: Some(now_ns), ..self.begin(task, now_ns, true) });
        }
        if let (Some(model), None) = (&message.model, &self.turn) {
            self.model.clone_from(model);
        }
        let Some(turn) = &mut self.turn else { return };
        let ends = ENDS.contains(&kind);
        turn.meter.message_end(message.whole && (ends || !turn.typed));
        let reason = match turn.typed {
            true if ends => None,
            true if kind == ERROR => Some(REFUSED),
            false if message.turn_complete => None,
            _ => return,
        };
        if let Some(turn) = self.turn.take() {
            self.told(turn, reason, out);
        }
    }

    fn begin(&self, task: &Task, now_ns: u64, typed: bool) -> Turn {
        let meter = Meter::new(self.plan.clone(), Some("text/event-stream"), |_| None);
        Turn {
            task: task.clone(),
            started_ns: now_ns,
            first_ns: None,
            last_ns: now_ns,
            typed,
            model: self.model.clone(),
            meter,
        }
    }

    fn told(&mut self, turn: Turn, incomplete: Option<&str>, out: &mut Vec<Finished>) {
        self.turns += 1;
        let usage = turn.meter.finish(incomplete.is_some());
        out.push(Finished {
            task: turn.task,
            model_requested: turn.model,
            model_served: usage.model_served.unwrap_or_default(),
            request_id: usage.response_id.unwrap_or_else(|| self.common.request_id.clone()),
            tokens: Some(usage.tokens),
            stream: Some(true),
            started_ns: turn.started_ns,
            first_ns: turn.first_ns,
            ended_ns: incomplete.is_none().then_some(turn.last_ns),
            incomplete: incomplete.unwrap_or_default().to_owned(),
            ..self.common.clone()
        });
    }
}

impl Direction {
    fn new(alone: Option<bool>) -> Self {
        let pointers = FACTS.as_ref().map(|facts| facts.pointers.clone()).unwrap_or_default();
        Self { decoder: Decoder::new(alone), scanner: Scanner::new(pointers) }
    }

    /// Reads a part of a message; gives what the message says when it is over.
    fn part(&mut self, part: Part<'_>) -> Option<Message> {
        match part {
            Part::Data(data) => {
                self.scanner.push(data);
                None
            }
            Part::End { whole, .. } => {
                self.scanner.finish();
                let message = FACTS.as_ref().map(|facts| facts.read(&self.scanner, whole));
                self.scanner.reset();
                message
            }
            Part::Close => None,
        }
    }
}

impl Facts {
    fn compile() -> Result<Self, PointerError> {
        let mut builder = PointersBuilder::default();
        let mut want = |pointer: &str, limit| builder.want(pointer, Keep::First, limit);
        let kind = want("/type", MAX_TYPE)?;
        let models = [
            want("/model", MAX_MODEL)?,
            want("/response/model", MAX_MODEL)?,
            want("/session/model", MAX_MODEL)?,
            want("/setup/model", MAX_MODEL)?,
        ];
        let turn_complete = want("/serverContent/turnComplete", MAX_TYPE)?;
        Ok(Self { pointers: Arc::new(builder.build()), kind, models, turn_complete })
    }

    fn read(&self, scanner: &Scanner, whole: bool) -> Message {
        let model = self.models.iter().find_map(|slot| scanner.text(*slot));
        let model = model.map(|model| model.strip_prefix("models/").unwrap_or(model));
        Message {
            kind: scanner.text(self.kind).unwrap_or_default().to_owned(),
            model: model.filter(|model| !model.is_empty()).map(str::to_owned),
            turn_complete: scanner.get(self.turn_complete) == Some(&Scalar::Bool(true)),
            whole,
        }
    }
}
