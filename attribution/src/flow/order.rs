//! TCP payload put into order (RFC 9293 section 3.4): packets come again, and after what follows them.

use std::collections::BTreeMap;

use crate::event::Plaintext;

/// Most bytes that wait for something before them. With more, that is taken for lost.
const MAX_WAITING: usize = 256 * 1024;
/// Most packets that wait.
const MAX_PACKETS: usize = 256;

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Order {
    /// Position of the first byte that was not given on.
    next: u64,
    waiting: BTreeMap<u64, Plaintext>,
    bytes: usize,
}

impl Order {
    /// Takes payload at `position`, modulo 2^32, and gives what is in order by now, with whole positions. A jump in
    /// these is what was lost.
    pub fn take(&mut self, position: u32, bytes: Plaintext) -> Vec<(u64, Plaintext)> {
        let Some(at) = self.whole(position) else { return Vec::new() };
        // The longer of two that begin at one place holds the other.
        if self.waiting.get(&at).is_none_or(|known| known.len() < bytes.len()) {
            self.bytes += bytes.len();
            if let Some(known) = self.waiting.insert(at, bytes) {
                self.bytes -= known.len();
            }
        }
        let mut out = Vec::new();
        self.ready(&mut out);
        while self.bytes > MAX_WAITING || self.waiting.len() > MAX_PACKETS {
            self.jump();
            self.ready(&mut out);
        }
        out
    }

    /// Everything that waits: nothing more comes.
    pub fn rest(&mut self) -> Vec<(u64, Plaintext)> {
        let mut out = Vec::new();
        while !self.waiting.is_empty() {
            self.jump();
            self.ready(&mut out);
        }
        out
    }

    /// The whole position nearest to what is awaited; nothing before the first byte.
    fn whole(&self, position: u32) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "the position on the wire is that modulo 2^32")]
        let distance = position.wrapping_sub(self.next as u32).cast_signed();
        self.next.checked_add_signed(distance.into())
    }

    fn jump(&mut self) {
        if let Some((first, _)) = self.waiting.first_key_value() {
            self.next = self.next.max(*first);
        }
    }

    fn ready(&mut self, out: &mut Vec<(u64, Plaintext)>) {
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.next {
                return;
            }
            let (at, bytes) = first.remove_entry();
            self.bytes -= bytes.len();
            let known = usize::try_from(self.next - at).unwrap_or(usize::MAX);
            if let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) {
                let position = self.next;
                self.next += new.len() as u64;
                out.push((position, if known == 0 { bytes } else { Plaintext::copy(new) }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn joined(parts: Vec<(u64, Plaintext)>, into: &mut Vec<u8>) {
        for (at, part) in parts {
            assert_eq!(at, into.len() as u64);
            into.extend_from_slice(&part);
        }
    }

    proptest! {
        #[test]
        fn any_order_with_repetitions_gives_the_text(
            cuts in proptest::collection::vec((0usize..3000, 1usize..500), 1..60),
        ) {
            let text = text(4000);
            let mut order = Order::default();
            let mut read = Vec::new();
            // Whole at the end, whatever came before.
            let all = [(0usize, 4000usize)];
            for (start, length) in cuts.iter().chain(&all) {
                let end = (start + length).min(text.len());
                let part = Plaintext::copy(&text[*start..end]);
                joined(order.take(u32::try_from(*start).unwrap(), part), &mut read);
                prop_assert!(text.starts_with(&read));
            }
            prop_assert_eq!(read, text);
        }
    }

    #[test]
    fn positions_go_on_after_four_gigabytes() {
        let mut order = Order { next: u64::from(u32::MAX) - 1, ..Order::default() };
        let told = order.take(2, Plaintext::copy(b"ef"));
        assert!(told.is_empty());
        let told = order.take(u32::MAX - 1, Plaintext::copy(b"abcd"));
        let told: Vec<u64> = told.iter().map(|(at, _)| *at).collect();
        assert_eq!(told, [u64::from(u32::MAX) - 1, u64::from(u32::MAX) + 3]);
    }

    #[test]
    fn what_never_comes_is_a_jump() {
        let mut order = Order::default();
        assert!(order.take(10, Plaintext::copy(b"abc")).is_empty());
        assert_eq!(order.rest().first().map(|(at, _)| *at), Some(10));
        // Late, and before what was given on.
        assert!(order.take(0, Plaintext::copy(b"0123456789")).is_empty());
        let big = vec![0; MAX_WAITING + 1];
        assert_eq!(order.take(100, Plaintext::copy(&big)).first().map(|(at, _)| *at), Some(100));
        assert_eq!((order.bytes, order.waiting.len()), (0, 0));
    }
}
