//! Content codings of bodies (RFC 9110 section 8.4), undone while the body streams.

mod brotli;
pub(in crate::decode) mod deflate;
pub(in crate::decode) mod guard;
mod gzip;
mod stage;
#[cfg(test)]
mod tests;
mod zstandard;

use thiserror::Error;

use guard::Guard;
use stage::Stage;

/// Most codings on one body.
const STAGE_LIMIT: usize = 2;
/// Most input handed to a decoder at once, in bytes. Bounds what one step can expand to.
const STEP: usize = 1024;
/// How a gzip member starts (RFC 1952 section 2.3.1): identification and the one method.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];
/// How a zstd frame starts (RFC 8878 section 3.1.1).
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Why a body cannot be decoded further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContentError {
    /// The body expands beyond what is believed of a real one.
    #[error("body expands to over 64 MiB, or to over 4 MiB at more than 250 times its size")]
    Bomb,
    /// The body is not what its coding asks for.
    #[error("body is not valid {what}")]
    Corrupt {
        /// The coding.
        what: &'static str,
    },
    /// The coding is unknown, needs a window over 8 MiB, or is one of more than two.
    #[error("content coding `{what}` is not supported")]
    Unsupported {
        /// The coding, at most 64 characters of it.
        what: String,
    },
}

/// Decodes one body. Output is given as soon as the input allows, so that streamed events come in time.
pub struct Decoder {
    state: State,
    /// Against the whole body; each stage has a guard of its own as well.
    guard: Guard,
}

enum State {
    /// No coding was named: the first bytes decide. Holds those that are still open.
    Sniff(Vec<u8>),
    /// Nothing to undo.
    Identity,
    /// Outermost coding first.
    Stages(Vec<Stage>),
    Failed(ContentError),
}

impl Decoder {
    /// A decoder for the value of a Content-Encoding field (empty when there is none). A body without a
    /// coding that starts like gzip or zstd is decoded all the same: some servers forget the field.
    ///
    /// An unknown coding is reported by the first [`Decoder::push`].
    pub fn new(content_encoding: &str) -> Self {
        let state = match stages(content_encoding) {
            Ok(stages) if stages.is_empty() => State::Sniff(Vec::new()),
            Ok(stages) => State::Stages(stages),
            Err(error) => State::Failed(error),
        };
        Self { state, guard: Guard::new() }
    }

    /// Takes the next bytes of the body and gives what they decode to, in any number of pieces. After an
    /// error every further call gives the same error.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), ContentError> {
        let result = self.advance(bytes, out);
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result
    }

    /// The body is over. Gives bytes still held back to recognise an unlabelled coding; an error when the
    /// coding is not at its end.
    pub fn finish(&mut self, out: &mut dyn FnMut(&[u8])) -> Result<(), ContentError> {
        match &mut self.state {
            State::Sniff(held) => {
                let held = std::mem::take(held);
                self.state = State::Identity;
                self.push(&held, out)
            }
            State::Identity => Ok(()),
            State::Stages(stages) => stages.iter().try_for_each(Stage::finish),
            State::Failed(error) => Err(error.clone()),
        }
    }

    fn advance(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), ContentError> {
        match &mut self.state {
            State::Failed(error) => Err(error.clone()),
            State::Identity => {
                self.guard.took(bytes.len());
                emit(&mut self.guard, bytes, out)
            }
            State::Stages(stages) => {
                self.guard.took(bytes.len());
                let guard = &mut self.guard;
                run(stages, bytes, &mut |bytes| emit(guard, bytes, out))
            }
            State::Sniff(held) => {
                held.extend_from_slice(bytes);
                let Some(state) = sniff(held) else { return Ok(()) };
                let held = std::mem::take(held);
                self.state = state;
                self.advance(&held, out)
            }
        }
    }
}

fn emit(guard: &mut Guard, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), ContentError> {
    guard.gave(bytes.len())?;
    if !bytes.is_empty() {
        out(bytes);
    }
    Ok(())
}

/// Passes `bytes` through the stages and the result to `out`.
fn run(
    stages: &mut [Stage],
    bytes: &[u8],
    out: &mut dyn FnMut(&[u8]) -> Result<(), ContentError>,
) -> Result<(), ContentError> {
    match stages {
        [] => out(bytes),
        [stage, inner @ ..] => {
            bytes.chunks(STEP).try_for_each(|step| stage.push(step, &mut |bytes| run(inner, bytes, out)))
        }
    }
}

/// Codings are listed in the order they were applied (RFC 9110 section 8.4), so the last is outermost.
fn stages(content_encoding: &str) -> Result<Vec<Stage>, ContentError> {
    let names = content_encoding.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<&str> = names.filter(|name| !name.eq_ignore_ascii_case("identity")).collect();
    if names.len() > STAGE_LIMIT {
        return Err(unsupported(content_encoding));
    }
    names.into_iter().rev().map(Stage::named).collect()
}

fn unsupported(what: &str) -> ContentError {
    ContentError::Unsupported { what: what.chars().take(64).collect() }
}

/// What a body without a named coding is; `None` while its first bytes leave it open.
fn sniff(held: &[u8]) -> Option<State> {
    if held.starts_with(GZIP_MAGIC) {
        return Some(State::Stages(vec![Stage::gzip()]));
    }
    if held.starts_with(ZSTD_MAGIC) {
        return Some(Stage::zstd().map_or_else(State::Failed, |stage| State::Stages(vec![stage])));
    }
    let open = GZIP_MAGIC.starts_with(held) || ZSTD_MAGIC.starts_with(held);
    (!open).then_some(State::Identity)
}
