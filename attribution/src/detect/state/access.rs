//! Opens of credential files, and the names one connection went by.

use std::sync::Arc;

use super::credential::Sample;
use super::span::{Evidence, Mark, Span};
use super::table::Entry;

/// Opens of one credential file by one executable of one principal, unexpected ones only.
#[derive(Debug, Default)]
pub(in crate::detect) struct Access {
    /// The principal.
    pub(in crate::detect) place: Arc<str>,
    /// The file, as the opener saw it.
    pub(in crate::detect) path: Arc<str>,
    /// Whose file it is, where the catalogue says so.
    pub(in crate::detect) client: Arc<str>,
    /// When.
    pub(in crate::detect) span: Span,
    /// Which records say so.
    pub(in crate::detect) evidence: Evidence,
    /// The process of the earliest open.
    pub(in crate::detect) sample: Sample,
    /// Whether it is waiting to be looked at.
    pub(in crate::detect) dirty: bool,
}

/// The names that one connection went by.
#[derive(Debug, Default)]
pub(in crate::detect) struct Names {
    /// The principal.
    pub(in crate::detect) place: Arc<str>,
    /// By SNI or DNS: provider and host, with the earliest record.
    pub(in crate::detect) network: Option<(Mark, Arc<str>, Arc<str>)>,
    /// By the `Host` of a request: provider and host, with the earliest record.
    pub(in crate::detect) request: Option<(Mark, Arc<str>, Arc<str>)>,
    /// Its records.
    pub(in crate::detect) span: Span,
    /// The earliest of them.
    pub(in crate::detect) evidence: Evidence,
    /// The process of the earliest.
    pub(in crate::detect) sample: Sample,
}

impl Entry for Access {
    fn last(&self) -> u64 {
        self.span.last
    }

    fn merge(&mut self, other: Self) {
        self.span.merge(&other.span);
        if self.evidence.merge(&other.evidence) {
            self.sample = other.sample;
            (self.place, self.path, self.client) = (other.place, other.path, other.client);
        }
    }
}

/// Puts the earlier of two in `known`.
pub(in crate::detect) fn earlier<T>(known: &mut Option<(Mark, T, T)>, new: (Mark, T, T)) {
    if known.as_ref().is_none_or(|(mark, ..)| new.0 < *mark) {
        *known = Some(new);
    }
}

impl Entry for Names {
    fn last(&self) -> u64 {
        self.span.last
    }

    fn merge(&mut self, other: Self) {
        self.span.merge(&other.span);
        if self.evidence.merge(&other.evidence) {
            (self.sample, self.place) = (other.sample, other.place);
        }
        for (known, new) in [(&mut self.network, other.network), (&mut self.request, other.request)] {
            if let Some(new) = new {
                earlier(known, new);
            }
        }
    }
}
