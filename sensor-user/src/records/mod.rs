//! Recorded records, for the verbs that look back: JSON lines, plain or as zstd frames.

mod lines;
mod remote;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use attribution::filter::{Filter, Prefilter};
use clap::Args;
use flow_log::{Backwards, Range};
use proto::v1::Record;

use crate::{cli::STATE_DIR, config::Log};
use lines::Line;

/// Which records a verb looks at.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Read records from this file (JSON lines, may be compressed with zstd) or folder of such files, `-` for
    /// standard input [default: the log of this host]
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// Folder of the log [default: `log` in the state folder, or as configured]
    #[arg(long, value_name = "DIR", conflicts_with = "input_file")]
    log_dir: Option<PathBuf>,
    /// Folder of the sensor's fleet key, and of its log unless that is elsewhere
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    #[command(flatten)]
    server: remote::Server,
}

/// Records one after the other; a line that is none is an error with its place, and the rest goes on.
pub type Records = Box<dyn Iterator<Item = anyhow::Result<Record>>>;

impl RecordArgs {
    /// The records, oldest first. `config` says where the log is, unless that was given.
    pub fn read(&self, config: &Log) -> anyhow::Result<Records> {
        self.matching(&Filter::default(), config)
    }

    /// The records that `filter` lets through, oldest first. What cannot match is not even parsed.
    pub fn matching(&self, filter: &Filter, config: &Log) -> anyhow::Result<Records> {
        self.newest(filter, None, config)
    }

    /// As [`RecordArgs::matching`], by one who needs the newest `last` records only: a collector sends no more.
    pub fn newest(&self, filter: &Filter, last: Option<usize>, config: &Log) -> anyhow::Result<Records> {
        if let Some(url) = &self.server.server {
            return self.server.ask(url, filter, last);
        }
        let log = self.log_dir.clone().unwrap_or_else(|| config.folder(&self.state_dir));
        let path = self.input_file.as_ref().unwrap_or(&log);
        let some = |time: u64| (time != 0).then_some(time);
        let range = Range { since: some(filter.since), until: some(filter.until) };
        let wanted = Wanted { filter: filter.clone(), prefilter: filter.prefilter() };
        if let (Some(last), Some(log)) = (last, lines::log(path)) {
            return Ok(Box::new(wanted.newest(last, path, log.backwards(range)?).into_iter()));
        }
        let lines = lines::open(path, range);
        let lines = match &self.input_file {
            Some(_) => lines?,
            None => lines.with_context(|| {
                format!(
                    "no records at {}: start `keywitness run`, or name a log with --log-dir or a file with --input-file",
                    log.display()
                )
            })?,
        };
        Ok(Box::new(lines.filter_map(move |line| wanted.take(line))))
    }

    /// Whether a file was named.
    pub fn is_named(&self) -> bool {
        self.input_file.is_some()
    }

    /// Whether a collector is asked.
    pub fn is_remote(&self) -> bool {
        self.server.server.is_some()
    }

    /// The state folder.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

/// Takes the records that are wanted out of lines.
struct Wanted {
    filter: Filter,
    prefilter: Prefilter,
}

impl Wanted {
    fn take(&self, line: anyhow::Result<Line>) -> Option<anyhow::Result<Record>> {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        if !self.prefilter.may_match(line.bytes()) {
            return None;
        }
        match line.record() {
            Ok(record) => self.filter.matches(&record).then_some(Ok(record)),
            Err(error) => Some(Err(anyhow::Error::from(error).context(line.place()))),
        }
    }

    /// The newest `last` of a log, oldest first. Of the log no more is read than holds them.
    fn newest(&self, last: usize, log: &Path, lines: Backwards) -> VecDeque<anyhow::Result<Record>> {
        let (mut found, mut records) = (VecDeque::new(), 0);
        for line in lines.flat_map(|frame| frame.into_iter().rev()) {
            if records >= last {
                break;
            }
            let line = line.map(|line| Line::new(line, log)).map_err(anyhow::Error::from);
            if let Some(item) = self.take(line) {
                records += usize::from(item.is_ok());
                found.push_front(item);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use attribution::filter::{Field, Term};
    use flow_log::{
        Boot,
        storage::Disk,
        writer::{Inline, Now, Options, Writer},
    };

    use super::*;

    const TEXT: &str =
        "{\"kind\":\"status\",\"status\":{\"produced\":1}}\nno\n{\"kind\":\"status\",\"status\":{}}\n";

    fn args(input_file: Option<&Path>, log_dir: Option<PathBuf>, state_dir: &Path) -> RecordArgs {
        let (input_file, state_dir) = (input_file.map(Path::to_owned), state_dir.to_owned());
        RecordArgs { input_file, log_dir, state_dir, server: Default::default() }
    }

    fn named(input_file: &Path) -> RecordArgs {
        args(Some(input_file), None, Path::new(""))
    }

    fn read(input_file: &Path) -> Vec<anyhow::Result<Record>> {
        named(input_file).read(&Log::default()).unwrap().collect()
    }

    #[test]
    fn plain_and_compressed_lines_read_alike_and_a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("a", TEXT.as_bytes().to_vec()), ("b", zstd::encode_all(TEXT.as_bytes(), 3).unwrap())]
        {
            let input_file = folder.path().join(name);
            std::fs::write(&input_file, bytes).unwrap();
            let read = read(&input_file);
            assert_eq!(read.len(), 3);
            assert!(read[0].is_ok() && read[2].is_ok());
            assert!(read[1].as_ref().unwrap_err().to_string().ends_with("line 2"));
        }
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let line = |time: u64| {
            serde_json::to_vec(&Record { time, kind: "status".into(), ..Default::default() }).unwrap()
        };
        std::fs::write(folder.path().join("2.jsonl.zst"), zstd::encode_all(line(2).as_slice(), 3).unwrap())
            .unwrap();
        std::fs::write(folder.path().join("1.jsonl"), line(1)).unwrap();
        std::fs::write(folder.path().join("0.txt"), "no").unwrap();
        let times: Vec<u64> = read(folder.path()).into_iter().map(|record| record.unwrap().time).collect();
        assert_eq!(times, [1, 2]);
    }

    #[test]
    fn only_what_matches_comes_out_and_other_lines_are_not_parsed() {
        let folder = tempfile::tempdir().unwrap();
        let input_file = folder.path().join("a");
        std::fs::write(&input_file, TEXT).unwrap();
        let term = Term { field: Field::Kind, value: "status".into(), not: false };
        let filter = Filter { terms: vec![term], ..Default::default() };
        let matching = || named(&input_file).matching(&filter, &Log::default()).unwrap();
        assert_eq!(matching().filter(Result::is_ok).count(), 2);
        assert_eq!(matching().count(), 2);
    }

    #[test]
    fn the_newest_of_a_log_are_the_last_of_all_that_match() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, packer) = (Disk::open(folder.path()).unwrap(), Box::new(Inline::default()));
        let options = Options { commit_records: 7, segment_bytes: 4000, ..Options::default() };
        let mut writer = Writer::open(disk, packer, options, Boot::default(), Now::default()).unwrap().0;
        for seq in 1..=500 {
            let kind = if seq % 3 == 0 { "flow" } else { "status" };
            let record = Record { time: seq, kind: kind.into(), ..Default::default() };
            let mut line = serde_json::to_vec(&record).unwrap();
            line.push(b'\n');
            writer.push(&line, seq, seq, Now::default());
            writer.tick(Now::default());
        }
        assert!(writer.close(Now::default()));
        let args = named(folder.path());
        let times = |filter: &Filter, last| -> Vec<u64> {
            let records = args.newest(filter, last, &Log::default()).unwrap();
            records.map(|record| record.unwrap().time).collect()
        };
        let terms = vec![Term { field: Field::Kind, value: "flow".into(), not: false }];
        for filter in [
            Filter::default(),
            Filter { terms: terms.clone(), ..Default::default() },
            Filter { since: 100, until: 333, terms },
        ] {
            let all = times(&filter, None);
            for last in [1, 5, 20, 100, 1000] {
                let expected = &all[all.len().saturating_sub(last)..];
                assert_eq!(times(&filter, Some(last)), expected, "{last} of {filter:?}");
            }
        }
    }

    #[test]
    fn without_a_log_the_error_says_what_to_do() {
        let args = args(None, None, Path::new("/no/such"));
        let error = format!("{:#}", args.read(&Log::default()).err().unwrap());
        assert!(error.contains("/no/such/log") && error.contains("--input-file"), "{error}");
    }

    #[test]
    fn the_log_is_where_the_option_says_then_where_the_configuration_says() {
        let folders = [1, 2, 3].map(|records| {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("log");
            std::fs::create_dir(&log).unwrap();
            std::fs::write(log.join("1.jsonl"), "{\"kind\":\"status\",\"status\":{}}\n".repeat(records))
                .unwrap();
            folder
        });
        let [state, configured, given] = folders.each_ref().map(|folder| folder.path().to_owned());
        let count = |log_dir: Option<&Path>, dir: Option<&Path>| {
            let config = Log { dir: dir.map(|dir| dir.join("log")), ..Log::default() };
            let log_dir = log_dir.map(|dir| dir.join("log"));
            args(None, log_dir, &state).read(&config).unwrap().count()
        };
        assert_eq!(count(None, None), 1);
        assert_eq!(count(None, Some(&configured)), 2);
        assert_eq!(count(Some(&given), Some(&configured)), 3);
    }
}
