//! Opens of credential files, and the names one connection went by.

use std::sync::Arc;

use super::Waits;
use super::credential::Sample;
use super::names::Names as Texts;
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
    /// Whether it waits to be looked at.
    pub(in crate::detect) waits: Waits,
}

/// A name, with the earliest record that says so.
#[derive(Debug)]
pub(in crate::detect) struct Named {
    mark: Mark,
    /// Whose host it is; empty when unknown.
    pub(in crate::detect) provider: Arc<str>,
    /// The host.
    pub(in crate::detect) host: Arc<str>,
}

/// The names that one connection went by.
#[derive(Debug, Default)]
pub(in crate::detect) struct Names {
    /// The principal.
    pub(in crate::detect) place: Arc<str>,
    /// By SNI or DNS.
    pub(in crate::detect) network: Option<Named>,
    /// By the `Host` of a request.
    pub(in crate::detect) request: Option<Named>,
    /// By the name under which DNS gave its address, when it gave the other name other addresses.
    pub(in crate::detect) address: Option<Named>,
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

impl Named {
    /// Puts what a record says in `known` when that is earlier; an empty host says nothing.
    pub(in crate::detect) fn note(
        known: &mut Option<Self>,
        mark: Mark,
        [provider, host]: [&str; 2],
        texts: &mut Texts,
    ) {
        if !host.is_empty() && Self::is_earlier(known, mark) {
            *known = Some(Self { mark, provider: texts.share(provider), host: texts.share(host) });
        }
    }

    fn is_earlier(known: &Option<Self>, mark: Mark) -> bool {
        known.as_ref().is_none_or(|known| mark < known.mark)
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
        for (known, new) in [
            (&mut self.network, other.network),
            (&mut self.request, other.request),
            (&mut self.address, other.address),
        ] {
            if new.as_ref().is_some_and(|new| Named::is_earlier(known, new.mark)) {
                *known = new;
            }
        }
    }
}
