//! The bytes of a message head, from its first byte to the empty line.

use zeroize::{Zeroize as _, Zeroizing};

use crate::decode::http::BrokenReason;
use crate::decode::wiped::append;

/// Longest head, in bytes, with its empty line.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;

/// The part of a head that came before the present bytes. Wiped when it is dropped, cleared or moved to a
/// larger allocation.
#[derive(Default)]
pub(super) struct HeadBuffer {
    kept: Zeroizing<Vec<u8>>,
}

/// A head, and how many of the new bytes it took.
pub(super) struct Taken {
    /// All of the head, with its empty line and without folded lines.
    pub(super) head: Zeroizing<Vec<u8>>,
    /// Bytes of the present input that belong to it.
    pub(super) used: usize,
}

impl HeadBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.kept
    }

    pub(super) fn clear(&mut self) {
        self.kept.zeroize();
    }

    /// Adds `bytes`; gives the head once its empty line is there, `None` when it needs more. Every byte is
    /// looked at once, so a head in one-byte pieces costs no more than a head in one piece.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Taken>, BrokenReason> {
        let start = self.kept.len();
        let room = HEAD_LIMIT - start.min(HEAD_LIMIT);
        let now = bytes.get(..room).unwrap_or(bytes);
        let end = end_of_head(&self.kept, now);
        let used = end.unwrap_or(now.len());
        append(&mut self.kept, now.get(..used).unwrap_or_default());
        if end.is_some() {
            let mut head = std::mem::take(&mut self.kept);
            unfold(&mut head);
            return Ok(Some(Taken { head, used }));
        }
        if self.kept.len() >= HEAD_LIMIT {
            return Err(BrokenReason::HeadTooLarge);
        }
        Ok(None)
    }
}

/// Where in `now` the head ends: after an empty line, whose line ends may be LF alone (RFC 9112 section 2.2).
fn end_of_head(before: &[u8], now: &[u8]) -> Option<usize> {
    let back = |at: usize, steps: usize| match at.checked_sub(steps) {
        Some(at) => now.get(at),
        None => before.get((before.len() + at).checked_sub(steps)?),
    };
    let empty_line = |at: usize| match back(at, 1) {
        Some(b'\r') => back(at, 2) == Some(&b'\n'),
        byte => byte == Some(&b'\n'),
    };
    let last = now.iter().enumerate().find(|(at, byte)| **byte == b'\n' && empty_line(*at));
    last.map(|(at, _)| at + 1)
}

/// Replaces each line fold by spaces (RFC 9112 section 5.2). A fold right after the first line is left for
/// the parser to refuse (section 2.2).
fn unfold(head: &mut [u8]) {
    let Some(first_line) = head.iter().position(|&byte| byte == b'\n') else { return };
    for at in first_line + 1..head.len() {
        let folded = head[at] == b'\n' && matches!(head.get(at + 1), Some(b' ' | b'\t'));
        if folded {
            head[at] = b' ';
            if head[at - 1] == b'\r' {
                head[at - 1] = b' ';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_LIMIT, HeadBuffer, unfold};
    use crate::decode::http::BrokenReason;

    #[test]
    fn the_head_ends_after_the_empty_line_wherever_it_is_split() {
        for text in ["A: b\r\n\r\nrest", "A: b\n\nrest", "A: b\r\n\nrest", "A: b\n\r\nrest"] {
            let body = text.find("rest").unwrap();
            for split in 0..body {
                let mut buffer = HeadBuffer::default();
                assert!(buffer.push(&text.as_bytes()[..split]).unwrap().is_none());
                let taken = buffer.push(&text.as_bytes()[split..]).unwrap().unwrap();
                assert_eq!(taken.head[..], text.as_bytes()[..body]);
                assert_eq!(split + taken.used, body);
                assert!(buffer.is_empty());
            }
        }
    }

    #[test]
    fn a_head_of_the_limit_is_taken_and_one_byte_more_is_not() {
        let head = |len: usize| [vec![b'a'; len - 4], b"\r\n\r\n".to_vec()].concat();
        assert!(HeadBuffer::default().push(&head(HEAD_LIMIT)).unwrap().is_some());
        for piece in [1000, HEAD_LIMIT + 1] {
            let mut buffer = HeadBuffer::default();
            let result =
                head(HEAD_LIMIT + 1).chunks(piece).map(|part| buffer.push(part)).find(Result::is_err);
            assert!(matches!(result, Some(Err(BrokenReason::HeadTooLarge))));
        }
    }

    #[test]
    fn folds_become_spaces_except_after_the_first_line() {
        let mut head = *b"GET / HTTP/1.1\r\nA: b\r\n c\n\td\r\n\r\n";
        unfold(&mut head);
        assert_eq!(&head, b"GET / HTTP/1.1\r\nA: b   c \td\r\n\r\n");
        let mut first = *b"GET / HTTP/1.1\r\n A: b\r\n\r\n";
        unfold(&mut first);
        assert_eq!(&first, b"GET / HTTP/1.1\r\n A: b\r\n\r\n");
    }
}
