//! What is known of one principal: what it is, where it calls, how much.

use std::sync::Arc;

use proto::v1::Workload;

use super::Waits;
use super::buckets::Buckets;
use super::credential::{MAX_DAYS, Sample};
use super::keyed::Keyed;
use super::names::Dest;
use super::span::{Evidence, Mark, Span};
use super::table::Entry;

/// Destinations told apart of one principal.
const MAX_DESTS: usize = 64;
/// Hours of use that are kept.
pub(in crate::detect) const MAX_HOURS: usize = 72;
/// Kinds of unread traffic told apart of one principal.
const MAX_UNSEEN: usize = 16;
/// Days that the trend of unread traffic is drawn from.
pub(in crate::detect) const UNSEEN_DAYS: usize = 8;

/// One principal. Its table key is the stable id.
#[derive(Debug, Default)]
pub(in crate::detect) struct Principal {
    /// What it is, by the latest record, and which record that was.
    pub(in crate::detect) about: (Mark, Arc<About>),
    /// All records of it.
    pub(in crate::detect) span: Span,
    /// Which records name it first.
    pub(in crate::detect) evidence: Evidence,
    /// The process of the earliest record.
    pub(in crate::detect) sample: Sample,
    /// Where it calls.
    pub(in crate::detect) dests: Keyed<(Arc<Dest>, Span), MAX_DESTS>,
    /// How much, by hour.
    pub(in crate::detect) hours: Buckets<MAX_HOURS>,
    /// How much, by day.
    pub(in crate::detect) days: Buckets<MAX_DAYS>,
    /// Flows whose content was read, by day; nothing for those that have none.
    pub(in crate::detect) read: Buckets<UNSEEN_DAYS>,
    /// Flows whose content was not read.
    pub(in crate::detect) unseen: Keyed<Unseen, MAX_UNSEEN>,
    /// Whether it waits to be looked at.
    pub(in crate::detect) waits: Waits,
}

/// What a principal is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct About {
    /// Host of the sensor that saw it.
    pub(in crate::detect) host: Arc<str>,
    /// The workload, without its instance.
    pub(in crate::detect) workload: Workload,
}

/// Traffic to a model endpoint that could not be read.
#[derive(Debug, Clone, Default)]
pub(in crate::detect) struct Unseen {
    /// Where to; without a model.
    pub(in crate::detect) dest: Arc<Dest>,
    /// Why it could not be read.
    pub(in crate::detect) reason: Arc<str>,
    /// When.
    pub(in crate::detect) span: Span,
    /// Flows by day.
    pub(in crate::detect) days: Buckets<UNSEEN_DAYS>,
}

impl Principal {
    /// It is what a later record says; whether that is something else than before.
    pub(in crate::detect) fn is_now(&mut self, mark: Mark, about: &Arc<About>) -> bool {
        self.about.0 = mark;
        let changed = !Arc::ptr_eq(&self.about.1, about) && self.about.1 != *about;
        if changed {
            self.about.1 = about.clone();
        }
        changed
    }
}

impl Entry for Principal {
    fn last(&self) -> u64 {
        self.span.last
    }

    fn merge(&mut self, other: Self) {
        if other.about.0 > self.about.0 {
            self.about = other.about;
        }
        self.span.merge(&other.span);
        if self.evidence.merge(&other.evidence) {
            self.sample = other.sample;
        }
        self.dests.merge(other.dests, |known, other| known.1.merge(&other.1));
        self.hours.merge(&other.hours);
        self.days.merge(&other.days);
        self.read.merge(&other.read);
        self.unseen.merge(other.unseen, |known, other| {
            known.span.merge(&other.span);
            known.days.merge(&other.days);
        });
    }
}
