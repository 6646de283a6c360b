//! Slow, strong compression, beside the writing.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
};

use zstd::{
    bulk::Compressor,
    zstd_safe::{CParameter, Strategy},
};

/// Records of a frame in a rewritten segment, uncompressed, in bytes.
pub(super) const PACK_BYTES: usize = 2 * 1024 * 1024;

/// Compresses one batch at a time.
pub trait Pack: Send {
    /// Begins with this batch; the one before is finished or not wanted any more.
    fn start(&mut self, raw: Vec<u8>);
    /// The batch as a zstd frame, once it is done; handed out once.
    fn finished(&mut self) -> Option<io::Result<Vec<u8>>>;
}

/// Compresses at once, in the caller's time.
#[derive(Default)]
pub struct Inline(Option<io::Result<Vec<u8>>>);

/// Compresses on a thread of its own, which ends with this.
pub struct Thread {
    to: SyncSender<(u64, Vec<u8>)>,
    from: Receiver<(u64, io::Result<Vec<u8>>)>,
    /// Number of the latest batch. What an earlier one becomes is of no use: its rewriting was given up.
    started: u64,
    /// Whether the thread could not take the latest batch.
    refused: bool,
}

/// The compressor: parameters found by measuring on model calls, which differ in short random parts. They
/// reach within 1 % what level 19 does, in 7 MB instead of 39.
pub struct Packer(Compressor<'static>);

impl Packer {
    /// A new compressor.
    pub fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?;
        for parameter in [
            CParameter::ChecksumFlag(true),
            CParameter::WindowLog(21),
            CParameter::ChainLog(18),
            CParameter::HashLog(17),
            CParameter::SearchLog(3),
            CParameter::MinMatch(4),
            CParameter::TargetLength(256),
            CParameter::Strategy(Strategy::ZSTD_btultra2),
        ] {
            compressor.set_parameter(parameter)?;
        }
        Ok(Self(compressor))
    }

    /// `raw` as a zstd frame.
    pub fn pack(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(raw)
    }
}

impl Pack for Inline {
    fn start(&mut self, raw: Vec<u8>) {
        self.0 = Some(Packer::new().and_then(|mut packer| packer.pack(&raw)));
    }

    fn finished(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.0.take()
    }
}

impl Thread {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (to, work) = sync_channel::<(u64, Vec<u8>)>(1);
        let (done, from) = sync_channel(1);
        std::thread::Builder::new().name("log-pack".to_owned()).spawn(move || {
            // The compressor lives as long as its batch: between two segments its memory is given back.
            for (number, raw) in work {
                let packed = Packer::new().and_then(|mut packer| packer.pack(&raw));
                if done.send((number, packed)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { to, from, started: 0, refused: false })
    }
}

impl Pack for Thread {
    fn start(&mut self, raw: Vec<u8>) {
        self.started += 1;
        self.refused = self.to.try_send((self.started, raw)).is_err();
    }

    fn finished(&mut self) -> Option<io::Result<Vec<u8>>> {
        if std::mem::take(&mut self.refused) {
            return Some(Err(io::Error::other(
                "the packing thread ended or is busy with what is not wanted",
            )));
        }
        loop {
            match self.from.try_recv() {
                Ok((number, packed)) if number == self.started => return Some(packed),
                Ok(_) => {}
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => {
                    return Some(Err(io::Error::other("the packing thread ended")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_not_wanted_any_more_is_never_taken_for_the_next() {
        let mut thread = Thread::start().unwrap();
        for round in 0..20_u8 {
            thread.start(vec![round; 100_000]);
            thread.start(vec![!round; 1000]);
            let packed = loop {
                match thread.finished() {
                    Some(packed) => break packed,
                    None => std::thread::yield_now(),
                }
            };
            // Refused, or the latest; never the one before.
            if let Ok(packed) = packed {
                assert_eq!(zstd::bulk::decompress(&packed, 100_000).unwrap(), vec![!round; 1000]);
            }
        }
    }
}
