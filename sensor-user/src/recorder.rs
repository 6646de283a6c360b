//! Recordings of events: JSON lines in zstd, without secrets, to be replayed elsewhere.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context as _, bail};
use attribution::{
    call::Toolkit,
    event::Event,
    pipeline::{Attribution, SensorInfo},
    recording::{Header, VERSION, recordable},
};

/// Largest recording before compression, bytes; then it ends, and what follows is counted.
const MAX_BYTES: u64 = 4 << 30;
/// Longest line of a recording, bytes.
const MAX_LINE: u64 = 1 << 20;
/// Compression level: fast.
const LEVEL: i32 = 1;

/// Writes what attribution is told.
pub struct Recorder {
    out: zstd::Encoder<'static, BufWriter<File>>,
    kit: Toolkit,
    bytes: u64,
    /// Events that did not fit.
    left_out: u64,
}

impl Recorder {
    /// A new file that only its owner can read.
    pub fn create(path: &Path, info: &SensorInfo, kit: Toolkit) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let out = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
        let mut recorder = Self { out, kit, bytes: 0, left_out: 0 };
        recorder.line(&Header {
            keywitness_events: VERSION,
            host: info.host.clone(),
            boot_id: info.boot_id.clone(),
        })?;
        Ok(recorder)
    }

    /// Feeds `event` to `attribution` and writes it, with what plaintext told.
    pub fn feed(&mut self, attribution: &mut Attribution, event: Event) -> io::Result<()> {
        let kept = recordable(&event, &self.kit);
        // A first payload makes the flow; everything else ends what plaintext told of.
        let (before, after) = match event {
            Event::Payload { .. } => (kept, None),
            _ => (None, kept),
        };
        attribution.event(event);
        before.into_iter().chain(attribution.decoded()).chain(after).try_for_each(|event| self.line(&event))
    }

    /// Writes what the end of a run told, and the end of the file.
    pub fn finish(mut self, attribution: &mut Attribution) -> io::Result<()> {
        attribution.decoded().iter().try_for_each(|event| self.line(event))?;
        if self.left_out > 0 {
            tracing::warn!(events = self.left_out, "the recording is full; events were left out");
        }
        self.out.finish()?.flush()
    }

    fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.bytes += line.len() as u64;
        if self.bytes > MAX_BYTES {
            self.left_out += 1;
            return Ok(());
        }
        self.out.write_all(&line)
    }
}

/// A recording's head and its events.
pub fn read(path: &Path) -> anyhow::Result<(SensorInfo, impl Iterator<Item = anyhow::Result<Event>>)> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let mut lines = BufReader::new(zstd::Decoder::new(file)?);
    let first = line(&mut lines).with_context(|| name.clone())?.unwrap_or_default();
    let header: Header =
        serde_json::from_slice(&first).with_context(|| format!("{name} is no recording of events"))?;
    if header.keywitness_events != VERSION {
        bail!("{name} has version {} of recordings, this is {VERSION}", header.keywitness_events);
    }
    let info = SensorInfo { host: header.host, boot_id: header.boot_id };
    let mut number = 1u64;
    let events = std::iter::from_fn(move || {
        number += 1;
        let place = || format!("{name}, line {number}");
        let line = line(&mut lines).with_context(place).transpose()?;
        Some(line.and_then(|line| serde_json::from_slice(&line).with_context(place)))
    });
    Ok((info, events))
}

fn line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let taken = Read::take(&mut *input, MAX_LINE).read_until(b'\n', &mut line)?;
    Ok((taken > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use attribution::{
        credential::{FleetKey, Hint},
        endpoint::Catalogue,
    };

    use super::*;

    #[test]
    fn what_is_written_reads_back_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let kit = Toolkit::new(catalogue, Arc::new(FleetKey::new(&mut [1; 32])), Hint::None);
        let info = SensorInfo { host: "h".into(), boot_id: "b".into() };
        let mut attribution = Attribution::new(kit.clone(), info.clone());
        attribution.record_decoded();
        let mut recorder = Recorder::create(&path, &info, kit.clone()).unwrap();
        let events = [
            Event::Clock { offset_ns: 5 },
            Event::Cgroup { id: 1, path: "/a".into() },
            Event::Tick { time_ns: 7 },
        ];
        for event in &events {
            recorder.feed(&mut attribution, event.clone()).unwrap();
        }
        recorder.finish(&mut attribution).unwrap();
        let (read_info, read_events) = read(&path).unwrap();
        assert_eq!((read_info.host.as_str(), read_info.boot_id.as_str()), ("h", "b"));
        assert_eq!(read_events.map(Result::unwrap).collect::<Vec<_>>(), events);
        assert!(Recorder::create(&path, &info, kit).is_err(), "a recording is never overwritten");
        std::fs::write(folder.path().join("x"), zstd::encode_all(&b"{}\n"[..], 1).unwrap()).unwrap();
        assert!(read(&folder.path().join("x")).err().unwrap().to_string().contains("no recording"));
    }
}
