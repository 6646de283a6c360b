//! What plaintext told, told to a recording, and taken from one.

use super::{Attribution, Name};
use crate::call::Finished;
use crate::event::Event;
use crate::flow::{Flow, Verdict};
use crate::recording::Decoded;

/// Facts that wait to be taken; a recorder takes them after each event, and more than this is never kept.
const MAX_DECODED: usize = 65_536;

impl Attribution {
    /// From now on keeps what plaintext tells, for [`Attribution::decoded`].
    pub fn record_decoded(&mut self) {
        self.decoded = Some(Vec::new());
    }

    /// What plaintext told since the last time. It led to what the last event led to, so that it stands before that
    /// event in a recording.
    pub fn decoded(&mut self) -> Vec<Event> {
        self.decoded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn tell(&mut self, what: Decoded) {
        let time_ns = self.now_ns;
        if let Some(decoded) = self.decoded.as_mut().filter(|decoded| decoded.len() < MAX_DECODED) {
            decoded.push(Event::Decoded { time_ns, what });
        }
    }

    pub(super) fn tell_call(&mut self, name: Name, cookie: u64, unbound_reason: &str, call: &Finished) {
        if self.decoded.is_some() {
            self.tell(Decoded::Call {
                cookie,
                cleartext: matches!(name, Name::Cleartext(_)),
                unbound_reason: unbound_reason.to_owned(),
                call: Box::new(call.clone()),
            });
        }
    }

    /// A flow is over.
    pub(super) fn tell_flow(&mut self, flow: &Flow) {
        if self.decoded.is_some() {
            self.tell(Decoded::Flow {
                cookie: flow.info.cookie,
                plaintext: flow.plaintext,
                probe: flow.probe,
                lost: flow.lost,
                tunnel: flow.tunnel,
                model: flow.verdict == Verdict::Model,
                host: flow.host.clone(),
                provider: flow.provider.clone(),
            });
        }
    }

    /// A flow closes that may have been forgotten.
    pub(super) fn tell_gone(&mut self, cookie: u64) {
        if self.decoded.is_some() && self.flows.get(cookie).is_none() {
            self.tell(Decoded::Gone { cookie });
        }
    }

    pub(super) fn replay(&mut self, what: Decoded) {
        match what {
            Decoded::Call { cookie, cleartext, unbound_reason, call } => {
                self.processes.seen(&call.task);
                let name = if cleartext { Name::Cleartext(cookie) } else { Name::Object([0; 16]) };
                self.call_record(name, cookie, &unbound_reason, *call);
            }
            Decoded::Flow { cookie, plaintext, probe, lost, tunnel, model, host, provider } => {
                if let Some(flow) = self.flows.get_mut(cookie) {
                    (flow.plaintext, flow.probe, flow.lost, flow.tunnel) = (plaintext, probe, lost, tunnel);
                    (flow.host, flow.provider) = (host, provider);
                    flow.verdict = if model { Verdict::Model } else { Verdict::Other };
                }
            }
            Decoded::Gone { cookie } => {
                self.flows.remove(cookie);
            }
        }
    }
}
