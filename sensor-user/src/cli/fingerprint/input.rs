//! Lines that hold secrets: read into one buffer that is wiped, and taken apart in place.

use std::{
    io::{ErrorKind, Read, Stdin},
    os::fd::{AsFd, OwnedFd},
};

use anyhow::Context;
use attribution::endpoint::Catalogue;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use crate::cli::report::Refused;

/// Longest line, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// Longest line that a terminal hands over whole (N_TTY_BUF_SIZE, the newline left out).
const MAX_TYPED_LINE: usize = 4095;
/// Words before the secret in an Authorization header.
const SCHEMES: [&str; 3] = ["bearer", "token", "zenapikey"];
/// Headers that carry credentials on many hosts.
const HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// Reads lines through a buffer of fixed size that is wiped at the end.
pub(super) struct Lines<R> {
    input: R,
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
    limit: usize,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Reads from `input`, which is a terminal when `typed`.
    pub(super) fn new(input: R, typed: bool) -> Self {
        let limit = if typed { MAX_TYPED_LINE - 1 } else { MAX_LINE };
        Self { input, buffer: Zeroizing::new(vec![0; MAX_LINE + 1]), filled: 0, limit, ended: false }
    }

    /// The next line, the `number`th, without its end.
    pub(super) fn next(&mut self, number: usize) -> anyhow::Result<Option<Zeroizing<String>>> {
        loop {
            let known = self.buffer.get(..self.filled).unwrap_or_default();
            let end = known.iter().position(|byte| *byte == b'\n');
            if end.unwrap_or(self.filled) > self.limit {
                let help = "give one secret per line, long ones from a file or pipe";
                return Err(
                    Refused::new(format!("line {number} is longer than {} bytes", self.limit), help).into()
                );
            }
            match end {
                Some(end) => return self.take(end, end + 1, number).map(Some),
                None if self.ended && self.filled == 0 => return Ok(None),
                None if self.ended => return self.take(self.filled, self.filled, number).map(Some),
                None => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match self.input.read(free) {
            Ok(0) => self.ended = true,
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read standard input"),
        }
        Ok(())
    }

    fn take(&mut self, end: usize, next: usize, number: usize) -> anyhow::Result<Zeroizing<String>> {
        let line = self.buffer.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let line = line.map(|line| Zeroizing::new(line.to_owned()));
        self.buffer.copy_within(next..self.filled, 0);
        self.filled -= next;
        // What was moved is still there a second time.
        if let Some(stale) = self.buffer.get_mut(self.filled..) {
            stale.zeroize();
        }
        let help = "give the key as text";
        line.ok_or_else(|| Refused::new(format!("line {number} is not UTF-8 text"), help).into())
    }
}

/// A terminal that does not show what is typed, until dropped.
pub(super) struct Quiet {
    terminal: OwnedFd,
    before: Termios,
}

impl Quiet {
    /// Nothing when the terminal does not let itself be set.
    pub(super) fn start(stdin: &Stdin) -> Option<Self> {
        let terminal = stdin.as_fd().try_clone_to_owned().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &quiet).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before) {
            tracing::warn!(%error, "cannot restore the terminal; run `stty echo`");
        }
    }
}

/// Names of the headers in which any provider takes credentials.
pub(super) fn carrier_names(catalogue: &Catalogue) -> Vec<String> {
    let known = catalogue.providers().iter().flat_map(|provider| &provider.entry.carriers);
    let mut names: Vec<String> = known.filter_map(|carrier| carrier.header.clone()).collect();
    names.extend(HEADERS.map(str::to_owned));
    names.sort();
    names.dedup();
    names
}

/// The secret in a pasted line: without quotes, header name and scheme, as it is taken on the wire.
pub(super) fn secret_of<'a>(line: &'a str, headers: &[String]) -> Option<&'a str> {
    let mut rest = line.trim();
    for quote in ['"', '\''] {
        rest = rest.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote)).unwrap_or(rest).trim();
    }
    if let Some((name, value)) = rest.split_once(':')
        && headers.iter().any(|header| header.eq_ignore_ascii_case(name.trim()))
    {
        rest = value.trim();
    }
    if rest.starts_with("AWS4-")
        && let Some((_, credential)) = rest.split_once("Credential=")
    {
        return credential.split('/').next();
    }
    let scheme = |word: &str| SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(word));
    if scheme(rest) {
        return None;
    }
    Some(match rest.split_once(' ') {
        Some((word, value)) if scheme(word) => value.trim(),
        _ => rest,
    })
}
