//! Why a credential file or an environment was not read, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The operating system refused.
    Unreadable,
    /// More bytes than are read.
    TooLarge,
    /// Not text.
    Binary,
    /// A pipe, device, socket or folder.
    NotRegular,
    /// Encrypted, or a database.
    Opaque,
    /// Written after it was opened.
    Changed,
    /// Gone before it could be read, or another by then.
    Vanished,
    /// More in a second than are read.
    Rate,
    /// The reader was busy with others.
    Busy,
}

/// Every cause, in the order of its number.
const ALL: [Skip; 9] = [
    Skip::Unreadable,
    Skip::TooLarge,
    Skip::Binary,
    Skip::NotRegular,
    Skip::Opaque,
    Skip::Changed,
    Skip::Vanished,
    Skip::Rate,
    Skip::Busy,
];

impl Skip {
    /// The name in status records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Binary => "binary",
            Self::NotRegular => "not_regular",
            Self::Opaque => "opaque",
            Self::Changed => "changed",
            Self::Vanished => "vanished",
            Self::Rate => "rate",
            Self::Busy => "busy",
        }
    }

    /// The reason in records.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreadable => "the operating system refused",
            Self::TooLarge => "it is larger than what is read",
            Self::Binary => "it is no text",
            Self::NotRegular => "it is no regular file",
            Self::Opaque => "its format is not read",
            Self::Changed => "it was written after it was opened",
            Self::Vanished => "it was gone before it could be read",
            Self::Rate => "too many files were opened in one second",
            Self::Busy => "the reader was busy",
        }
    }
}

/// What was skipped so far, by cause.
#[derive(Debug, Default)]
pub struct Skipped([AtomicU64; ALL.len()]);

impl Skipped {
    /// Counts one.
    pub fn count(&self, skip: Skip) {
        if let Some(counter) = self.0.get(skip as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counts, by the name of the cause.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ALL.iter().zip(&self.0).map(|(skip, count)| (skip.name(), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_own_count() {
        let skipped = Skipped::default();
        for (at, skip) in ALL.into_iter().enumerate() {
            assert_eq!(skip as usize, at);
            (0..=at).for_each(|_| skipped.count(skip));
        }
        let counts: Vec<u64> = skipped.all().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=ALL.len() as u64).collect::<Vec<_>>());
    }
}
