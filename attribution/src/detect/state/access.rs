//! Opens of credential files.

use std::sync::Arc;

use super::Waits;
use super::credential::Sample;
use super::span::{Evidence, Span};
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
    /// Whether it waits to be looked at.
    pub(in crate::detect) waits: Waits,
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
