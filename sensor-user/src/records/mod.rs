//! Recorded records, for the verbs that look back: JSON lines, plain or as zstd frames.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use proto::v1::Record;

/// First bytes of a zstd frame (RFC 8878 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Which records a verb looks at.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Read records from this file (JSON lines, may be compressed with zstd), `-` for standard input
    #[arg(long, value_name = "FILE")]
    input_file: PathBuf,
}

/// Records one after the other; a line that is none is an error with its place, and the rest goes on.
pub type Records = Box<dyn Iterator<Item = anyhow::Result<Record>>>;

impl RecordArgs {
    /// The records, oldest first.
    pub fn read(&self) -> anyhow::Result<Records> {
        let name = self.input_file.display().to_string();
        let input: Box<dyn Read> = match name.as_str() {
            "-" => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(&self.input_file).with_context(|| format!("cannot open {name}"))?),
        };
        let mut input = BufReader::new(input);
        let compressed = input.fill_buf()?.starts_with(&ZSTD_MAGIC);
        let lines: Box<dyn BufRead> = match compressed {
            true => Box::new(BufReader::new(zstd::Decoder::with_buffer(input)?)),
            false => Box::new(input),
        };
        Ok(Box::new(lines.lines().enumerate().map(move |(at, line)| {
            let place = || format!("{name}, line {}", at + 1);
            serde_json::from_str(&line.with_context(place)?).with_context(place)
        })))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn plain_and_compressed_lines_read_alike_and_a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            "{\"kind\":\"status\",\"status\":{\"produced\":1}}\nno\n{\"kind\":\"status\",\"status\":{}}\n";
        for (name, bytes) in
            [("a", text.as_bytes().to_vec()), ("b", zstd::encode_all(text.as_bytes(), 3).unwrap())]
        {
            let input_file = folder.path().join(name);
            File::create(&input_file).unwrap().write_all(&bytes).unwrap();
            let read: Vec<_> = RecordArgs { input_file }.read().unwrap().collect();
            assert_eq!(read.len(), 3);
            assert!(read[0].is_ok() && read[2].is_ok());
            assert!(read[1].as_ref().unwrap_err().to_string().ends_with("line 2"));
        }
    }
}
