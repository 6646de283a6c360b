//! Numbers that are missing in the log, told when a gap begins and when it ends.

use crate::frame::Boot;

/// Sequence numbers whose records are not in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Boot that numbered them.
    pub boot: Boot,
    /// First missing number.
    pub from: u64,
    /// Last missing number; nothing while the gap goes on.
    pub to: Option<u64>,
    /// Why.
    pub cause: &'static str,
}

/// What was numbered and not taken.
#[derive(Debug)]
pub(super) struct Gaps {
    /// Last number that was seen or is taken for used.
    numbered: u64,
    open: Option<Gap>,
    told: Vec<Gap>,
}

impl Gaps {
    /// The next record will have this number, or a later one.
    pub(super) fn new(next_seq: u64) -> Self {
        Self { numbered: next_seq.saturating_sub(1), open: None, told: Vec::new() }
    }

    /// A record is taken. What was numbered between it and the last one was lost on the way.
    pub(super) fn accept(&mut self, boot: Boot, seq: u64) {
        let expected = self.numbered + 1;
        self.numbered = self.numbered.max(seq);
        match self.open.take() {
            Some(gap) => self.told.push(Gap { to: Some(seq.saturating_sub(1)), ..gap }),
            None if seq > expected => {
                let to = Some(seq - 1);
                self.told.push(Gap { boot, from: expected, to, cause: "queue_full" });
            }
            None => {}
        }
    }

    /// A record is dropped.
    pub(super) fn drop(&mut self, boot: Boot, seq: u64, cause: &'static str) {
        let from = self.numbered.saturating_add(1).min(seq);
        self.numbered = self.numbered.max(seq);
        if self.open.is_none() {
            let gap = Gap { boot, from, to: None, cause };
            self.told.push(gap.clone());
            self.open = Some(gap);
        }
    }

    /// Numbers from `first` on, all of them accepted, are to be used again.
    pub(super) fn take_back(&mut self, first: u64) {
        self.numbered = self.numbered.min(first.saturating_sub(1));
    }

    /// The gap that goes on, up to the last number.
    pub(super) fn open(&self) -> Option<(u64, u64)> {
        self.open.as_ref().map(|gap| (gap.from, self.numbered))
    }

    pub(super) fn numbered(&self) -> u64 {
        self.numbered
    }

    pub(super) fn take(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.told)
    }
}
