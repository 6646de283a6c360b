//! Files of older versions are read for ever. Nothing in `golden/` is ever edited: a new version of the format or
//! of the schema adds a folder (`KEYWITNESS_BLESS=1` makes the segment from the lines beside it).

use std::path::{Path, PathBuf};

use flow_log::{
    Boot, Range, Reader,
    storage::Disk,
    verify::verify,
    writer::{Inline, Now, Options, Writer},
};
use proto::v1::{Record, record::Body};

fn golden(version: &str) -> (PathBuf, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
    let text = std::fs::read_to_string(folder.with_extension("jsonl")).unwrap();
    (folder, text.lines().map(str::to_owned).collect())
}

fn bless(folder: &Path, lines: &[String]) {
    let disk = Disk::open(folder).unwrap();
    let boot = Boot::parse("5f3c1d0e-8f5e-4b62-9d0b-0c1f6a3d7e21");
    let mut writer =
        Writer::open(disk, Box::new(Inline::default()), Options::default(), boot, Now::default()).unwrap().0;
    for line in lines {
        let record = Record::from_json(line.as_bytes()).unwrap();
        let seq = record.sensor.unwrap().seq;
        writer.push(format!("{line}\n").as_bytes(), seq, record.time, Now::default());
        if seq % 2 == 0 {
            writer.commit(Now::default());
        }
    }
    assert!(writer.close(Now::default()));
    std::fs::remove_file(folder.join("lock")).unwrap();
}

#[test]
fn the_first_version_is_read() {
    let (folder, lines) = golden("v1");
    if std::env::var_os("KEYWITNESS_BLESS").is_some() && !folder.exists() {
        bless(&folder, &lines);
    }
    let read: Vec<_> =
        Reader::open(&folder).unwrap().lines(Range::default()).unwrap().map(Result::unwrap).collect();
    let texts: Vec<_> = read.iter().map(|line| std::str::from_utf8(line.bytes()).unwrap()).collect();
    assert_eq!(texts, lines);
    let records: Vec<Record> = read.iter().map(|line| line.record().unwrap()).collect();
    let kinds: Vec<_> = records.iter().map(|record| record.kind.as_str()).collect();
    assert_eq!(kinds, ["status", "model_call", "flow", "finding", "of_the_future"]);
    let Some(Body::ModelCall(call)) = &records[1].body else { panic!("{:?}", records[1]) };
    assert_eq!((call.model_requested.as_str(), call.status), ("gpt-5-mini", Some(401)));
    assert_eq!(call.process.as_ref().unwrap().ancestors.len(), 2);
    let Some(Body::Finding(finding)) = &records[3].body else { panic!("{:?}", records[3]) };
    assert_eq!((finding.rule.as_str(), finding.participants.len()), ("shared-credential", 1));
    assert_eq!((records[4].time, records[4].body.is_none()), (read[4].time(), true));
    let report = verify(&folder, None).unwrap();
    assert_eq!((report.records, report.broken), (5, 0), "{:?}", report.breaks);
}
