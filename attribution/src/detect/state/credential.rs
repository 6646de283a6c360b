//! What is known of one credential: who used it, for what, when.

use std::sync::Arc;

use super::Waits;
use super::buckets::Buckets;
use super::keyed::Keyed;
use super::names::Dest;
use super::span::{Evidence, Span};
use super::table::Entry;

/// Users told apart of one credential; one credential that more use is shared in any case.
const MAX_USES: usize = 64;
/// Destinations told apart of one user of one credential.
const MAX_DESTS: usize = 32;
/// Days of use that are kept: two months of any length.
pub(in crate::detect) const MAX_DAYS: usize = 62;
/// Process trees remembered of one user.
const MAX_ROOTS: usize = 8;
/// Destinations remembered that a key was wrongly sent to.
const MAX_WRONG: usize = 8;

/// One credential. Its table key is the fingerprint.
#[derive(Debug, Default)]
pub(in crate::detect) struct Cred {
    /// Its own facts.
    pub(in crate::detect) meta: Meta,
    /// All its uses.
    pub(in crate::detect) span: Span,
    /// Its users, by place and program.
    pub(in crate::detect) uses: Keyed<Use, MAX_USES>,
    /// Whether it waits to be looked at.
    pub(in crate::detect) waits: Waits,
}

/// What does not depend on who uses it. Of two opinions the greater one wins, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::detect) struct Meta {
    /// Whose key it is, by its shape.
    pub(in crate::detect) provider: Arc<str>,
    /// Kind.
    pub(in crate::detect) kind: Arc<str>,
    /// Lifetime.
    pub(in crate::detect) lifetime: Arc<str>,
    /// What may be shown of it.
    pub(in crate::detect) hint: Arc<str>,
}

/// The use of one credential by one process tree of one principal.
#[derive(Debug, Default)]
pub(in crate::detect) struct Use {
    /// The principal, a key of the principals' table.
    pub(in crate::detect) place: Arc<str>,
    /// Executable of the tree's oldest process.
    pub(in crate::detect) program: Arc<str>,
    /// Keys of the trees' oldest processes.
    pub(in crate::detect) roots: Keyed<(), MAX_ROOTS>,
    /// When.
    pub(in crate::detect) span: Span,
    /// Which records say so.
    pub(in crate::detect) evidence: Evidence,
    /// The process of the earliest record.
    pub(in crate::detect) sample: Sample,
    /// Where to.
    pub(in crate::detect) dests: Keyed<(Arc<Dest>, Span), MAX_DESTS>,
    /// How much, by day.
    pub(in crate::detect) days: Buckets<MAX_DAYS>,
    /// What few users do.
    pub(in crate::detect) odd: Option<Box<Odd>>,
}

/// A process, as far as findings name it.
#[derive(Debug, Clone, Default)]
pub(in crate::detect) struct Sample {
    /// Process id and start time.
    pub(in crate::detect) generation: (u32, u64),
    /// User.
    pub(in crate::detect) uid: Option<u32>,
    /// Executable.
    pub(in crate::detect) exe: Arc<str>,
    /// Control group.
    pub(in crate::detect) cgroup: Arc<str>,
}

/// Uses that some rule objects to.
#[derive(Debug, Default)]
pub(in crate::detect) struct Odd {
    /// Calls with the key in the URL.
    pub(in crate::detect) in_url: Span,
    /// Calls with the key in clear text that left the host.
    pub(in crate::detect) cleartext: Span,
    /// File of a human that the key came from; of several the one that sorts first.
    pub(in crate::detect) home: Option<Arc<str>>,
    /// Destinations of other providers.
    pub(in crate::detect) wrong: Keyed<(Arc<Dest>, Span), MAX_WRONG>,
}

impl Use {
    fn merge(&mut self, other: Self) {
        self.roots.merge(other.roots, |(), ()| ());
        self.span.merge(&other.span);
        if self.evidence.merge(&other.evidence) {
            self.sample = other.sample;
        }
        self.dests.merge(other.dests, |known, other| known.1.merge(&other.1));
        self.days.merge(&other.days);
        if let Some(odd) = other.odd {
            self.odd.get_or_insert_default().merge(*odd);
        }
    }
}

impl Odd {
    /// Takes a file that the key came from.
    pub(in crate::detect) fn came_from(&mut self, path: Arc<str>) -> bool {
        let new = self.home.as_ref().is_none_or(|known| path < *known);
        if new {
            self.home = Some(path);
        }
        new
    }

    fn merge(&mut self, other: Self) {
        self.in_url.merge(&other.in_url);
        self.cleartext.merge(&other.cleartext);
        if let Some(path) = other.home {
            self.came_from(path);
        }
        self.wrong.merge(other.wrong, |known, other| known.1.merge(&other.1));
    }
}

impl Entry for Cred {
    fn last(&self) -> u64 {
        self.span.last
    }

    fn merge(&mut self, other: Self) {
        if other.meta > self.meta {
            self.meta = other.meta;
        }
        self.span.merge(&other.span);
        self.uses.merge(other.uses, Use::merge);
    }
}
