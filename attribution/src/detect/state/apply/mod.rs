//! A record becomes part of the state.

mod access;
mod call;
mod credential;
mod flow;
mod lanes;
mod principal;
mod said;
mod session;

use std::sync::Arc;

use proto::v1::{Process, Record, Workload, record::Body};

use super::buckets::Amount;
use super::credential::Sample;
use super::lane::{Known, NOWHERE, Places};
use super::names::Names;
use super::principal::About;
use super::span::Mark;
use super::{Look, State, Subject, Waits};
use crate::detect::facts::Who;

/// Receives what a record touched: the subject, what it waits for already, and how soon it should be looked at.
pub(in crate::detect) type Touch<'a> = &'a mut dyn FnMut(&dyn Fn() -> Subject, &mut Waits, Look);

/// One act of a principal: a call, a flow, or an open of a credential file.
struct Act<'a> {
    mark: Mark,
    host: &'a str,
    process: &'a Process,
    actor: Actor<'a>,
    workload: Option<&'a Workload>,
    amount: Amount,
    dest: [&'a str; 3],
    dest_key: u64,
}

/// Who acts.
enum Actor<'a> {
    /// As the record says, and the key of the oldest process of its tree.
    Told(Who<'a>, u64),
    /// Somebody who said all the same before.
    Known(&'a Known),
}

/// What an act was added to.
struct Added {
    /// The principal's shared name.
    place: Arc<str>,
    /// What it is, as the record says.
    about: Option<Arc<About>>,
    places: Places,
    /// No record that is later is evidence of any of them.
    after: u64,
}

impl State {
    /// Takes a record; whether it is new.
    pub(in crate::detect) fn apply(&mut self, record: &Record, touch: Touch<'_>) -> bool {
        // What a detector found is no fact of the host.
        if matches!(record.body, None | Some(Body::Finding(_))) {
            return false;
        }
        let Some(mark) = self.admit(record.time, record.sensor.as_ref()) else { return false };
        let host = record.sensor.as_ref().map(|sensor| sensor.host.as_str()).unwrap_or_default();
        self.make_room(touch);
        match &record.body {
            Some(Body::ModelCall(call)) => self.call(mark, host, call, touch),
            Some(Body::Flow(flow)) => self.flow(mark, host, flow, touch),
            Some(Body::CredentialAccess(access)) => self.access(mark, host, access, touch),
            Some(Body::Status(status)) => {
                if let Some(sensor) = self.sensors.get_mut(&mark.sensor) {
                    sensor.status(mark, status);
                    touch(&|| Subject::Sensor(mark.sensor), &mut sensor.waits, Look::Now);
                }
                if !status.reports.is_empty() {
                    status.reports.iter().for_each(|report| self.reports.add(report));
                    touch(&|| Subject::All, &mut Waits::default(), Look::Now);
                }
            }
            // A session says nothing of itself that its calls do not.
            Some(Body::Session(_) | Body::Finding(_)) | None => {}
        }
        true
    }
}

impl Added {
    /// As far as a principal goes.
    fn to(principal: u32, place: Arc<str>, about: Option<Arc<About>>, after: u64) -> Self {
        let places = Places { principal, session: NOWHERE, credential: NOWHERE };
        Self { place, about, places, after }
    }
}

impl Look {
    fn if_new(news: bool) -> Self {
        if news { Self::Now } else { Self::Soon }
    }

    /// As soon as what it is about asks for.
    fn by(news: bool, soon: bool) -> Self {
        match (news, soon) {
            (true, _) => Self::Now,
            (_, true) => Self::Soon,
            // Only counts and times went on, and no rule asks for these.
            _ => Self::Later,
        }
    }
}

fn sample(names: &mut Names, process: &Process) -> Sample {
    Sample {
        generation: (process.pid, process.start_time),
        uid: process.uid,
        exe: names.share(&process.exe),
        cgroup: names.share(&process.cgroup),
    }
}
