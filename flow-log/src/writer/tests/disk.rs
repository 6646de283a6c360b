//! The real file system: what is written is read, whatever single byte is changed.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use proto::v1::{Flow, Record, Sensor, record::Body};

use crate::{
    Key, Line, Position, Range, ReadError, Reader,
    frame::{Boot, Kind},
    read_stream,
    storage::{Disk, OpenError},
    verify::{Report, verify},
    walk::{Step, Walk},
    writer::{Inline, MAX_QUEUED, Now, Options, Writer},
};

const BOOT: &str = "70f33f75-5292-40cb-8ee1-433011488d54";
const NS_PER_S: u64 = 1_000_000_000;

fn now(seconds: u64) -> Now {
    Now { steady_ns: seconds * NS_PER_S, calendar_ns: seconds * NS_PER_S }
}

fn line(seq: u64) -> Vec<u8> {
    let flow = Flow { id: format!("flow {seq}"), ..Default::default() };
    let mut record = Record::new(seq * NS_PER_S, Body::Flow(Box::new(flow)));
    record.sensor = Some(Sensor { host: "h".into(), boot_id: BOOT.into(), seq });
    let mut line = serde_json::to_vec(&record).unwrap();
    line.push(b'\n');
    line
}

fn writer(folder: &Path, options: &Options) -> Writer<Disk> {
    let disk = Disk::open(folder).unwrap();
    Writer::open(disk, Box::new(Inline::default()), options.clone(), Boot::parse(BOOT), now(0)).unwrap().0
}

/// A log of `count` records, a second apart, `each` in a frame.
fn write(folder: &Path, options: &Options, count: u64, each: u64) {
    let mut writer = writer(folder, options);
    for seq in 1..=count {
        writer.push(&line(seq), seq, seq * NS_PER_S, now(seq));
        if seq % each == 0 {
            writer.commit(now(seq));
            (0..20).for_each(|_| writer.tick(now(seq)));
        }
    }
    assert!(writer.close(now(count)));
}

fn options() -> Options {
    Options { segment_bytes: 3000, segment_ns: u64::MAX, repack: false, ..Options::default() }
}

fn numbers(lines: impl Iterator<Item = Result<Line, ReadError>>) -> Vec<u64> {
    lines
        .map(|line| line.unwrap())
        .inspect(|read| assert_eq!(read.bytes(), line(read.seq).trim_ascii()))
        .map(|line| line.seq)
        .collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    crate::segment::list(folder).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[test]
fn what_was_written_is_read_by_range_from_the_end_and_on() {
    for repack in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Options { repack, ..options() }, 200, 5);
        let reader = Reader::open(folder.path()).unwrap();
        assert!(segments(folder.path()).len() > 2, "{:?}", segments(folder.path()));
        assert_eq!(numbers(reader.lines(Range::default()).unwrap()), (1..=200).collect::<Vec<_>>());
        for (since, until) in [(50, 60), (1, 2), (0, 1), (200, 300), (77, 153)] {
            let range = Range { since: Some(since * NS_PER_S), until: Some(until * NS_PER_S) };
            let expected: Vec<u64> = (since.max(1)..until.min(201)).collect();
            assert_eq!(numbers(reader.lines(range).unwrap()), expected);
            let frames: Vec<_> = reader.backwards(range).unwrap().collect();
            assert_eq!(numbers(frames.into_iter().rev().flatten()), expected);
        }
        for count in [0, 1, 4, 5, 6, 60, 199, 200, 1000] {
            let from = 201_u64.saturating_sub(count).max(1);
            let count = usize::try_from(count).unwrap();
            assert_eq!(numbers(reader.last(count).unwrap()), (from..=200).collect::<Vec<_>>());
        }
        let report = verify(folder.path(), None).unwrap();
        assert_eq!((report.records, report.broken, report.gaps.len()), (200, 0, 0), "{:?}", report.breaks);
    }
}

#[test]
fn who_follows_gets_every_record_once_while_segments_come_and_are_rewritten() {
    for repack in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), &Options { repack, ..options() });
        let mut follow = Reader::open(folder.path()).unwrap().follow_from(Position::default());
        let (mut seen, mut resumed) = (Vec::new(), Vec::new());
        for seq in 1..=300 {
            writer.push(&line(seq), seq, seq * NS_PER_S, now(seq));
            if seq % 3 == 0 {
                writer.commit(now(seq));
                writer.tick(now(seq));
            }
            if seq % 7 == 0 {
                seen.extend(numbers(std::iter::from_fn(|| follow.poll())));
            }
            if seq == 150 {
                resumed.push(follow.position());
            }
        }
        assert!(writer.close(now(300)));
        seen.extend(numbers(std::iter::from_fn(|| follow.poll())));
        assert_eq!(seen, (1..=300).collect::<Vec<_>>());
        let mut later = Reader::open(folder.path()).unwrap().follow_from(resumed[0]);
        assert_eq!(numbers(std::iter::from_fn(|| later.poll())), (148..=300).collect::<Vec<_>>());
    }
}

#[test]
fn only_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let first = writer(folder.path(), &options());
    assert!(matches!(Disk::open(folder.path()), Err(OpenError::Locked { .. })));
    drop(first);
    writer(folder.path(), &options());
}

/// What is read of a segment that was tampered with: records, and whether damage was told.
fn read(bytes: Vec<u8>) -> (Vec<u64>, bool) {
    let (mut seqs, mut told) = (Vec::new(), false);
    for item in read_stream(Path::new("-"), Cursor::new(bytes), Range::default()).unwrap() {
        match item {
            Ok(line) => seqs.push(line.seq),
            Err(ReadError::Damaged(_)) => told = true,
            Err(error) => panic!("{error}"),
        }
    }
    (seqs, told)
}

#[test]
fn any_changed_or_cut_byte_is_told_and_costs_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    let (each, count) = (4, 16);
    write(folder.path(), &Options { segment_bytes: u64::MAX, ..options() }, count, each);
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let ends = ends_of_frames(&whole);
    for at in 0..whole.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let (seqs, told) = read(bytes);
            assert!(told, "byte {at} changed unnoticed");
            assert!(seqs.len() as u64 >= count - each, "byte {at}: {seqs:?}");
        }
        let mut bytes = whole.clone();
        bytes.remove(at);
        let (seqs, told) = read(bytes);
        assert!(told, "byte {at} removed unnoticed");
        assert!(seqs.len() as u64 >= count - each, "without byte {at}: {seqs:?}");
        let (seqs, told) = read(whole[..at].to_vec());
        assert_eq!(told, !ends.contains(&at), "cut at {at}");
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "cut at {at}: {seqs:?}");
    }
}

/// Where a cut leaves whole frames only, so that the rest is as if it had never been written.
fn ends_of_frames(bytes: &[u8]) -> Vec<usize> {
    let mut walk = Walk::new(Cursor::new(bytes));
    let mut ends = vec![0];
    while let Step::Frame { .. } = walk.next(|_| true).unwrap() {
        ends.push(usize::try_from(walk.offset()).unwrap());
    }
    ends
}

/// The log with one byte changed, recovered and verified.
fn recovered(folder: &Path, offset: u64) -> (Report, Vec<u64>, usize) {
    let path = segments(folder).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();
    let disk = Disk::open(folder).unwrap();
    let (writer, recovery) =
        Writer::open(disk, Box::new(Inline::default()), options(), Boot::parse(BOOT), now(0)).unwrap();
    drop(writer);
    let lines = Reader::open(folder).unwrap().lines(Range::default()).unwrap();
    let seqs = lines.filter_map(Result::ok).map(|line| line.seq).collect();
    let told: u64 = recovery
        .gaps
        .iter()
        .filter(|gap| gap.cause == "damaged")
        .map(|gap| gap.to.unwrap() - gap.from + 1)
        .sum();
    assert_eq!(told, 5, "{:?}", recovery.gaps);
    (verify(folder, None).unwrap(), seqs, recovery.quarantined.len())
}

#[test]
fn a_damaged_segment_is_set_aside_and_its_good_frames_stay() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &Options { segment_bytes: u64::MAX, ..options() }, 40, 5);
    let (report, seqs, quarantined) = recovered(folder.path(), 1000);
    assert_eq!((seqs.len(), quarantined), (35, 1));
    assert_eq!((report.broken, report.gaps.len()), (1, 1), "{:?}", report.breaks);
    assert!(folder.path().join("00000001.jsonl.zst.damaged").is_file());
}

#[test]
fn damage_is_told_from_the_end_too_and_costs_one_frame() {
    for repack in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Options { segment_bytes: u64::MAX, repack, ..options() }, 40, 5);
        let path = segments(folder.path()).remove(0);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let frames: Vec<_> =
                Reader::open(folder.path()).unwrap().backwards(Range::default()).unwrap().collect();
            let items = || frames.iter().rev().flatten();
            let seqs: Vec<u64> = items().filter_map(|item| Some(item.as_ref().ok()?.seq)).collect();
            assert!(seqs.len() >= 35 && seqs.is_sorted(), "byte {at}: {seqs:?}");
            assert!(items().any(Result::is_err), "byte {at} changed unnoticed");
        }
    }
}

#[test]
fn a_changed_record_with_all_checksums_made_right_breaks_the_chain() {
    let key = Key::new(&[7; 32]);
    let folder = tempfile::tempdir().unwrap();
    let options = Options { key: Some(key.clone()), segment_bytes: u64::MAX, ..options() };
    write(folder.path(), &options, 40, 5);
    assert_eq!(verify(folder.path(), Some(&key)).unwrap().broken, 0);
    assert_eq!(verify(folder.path(), Some(&Key::new(&[8; 32]))).unwrap().broken, 10);
    let without = verify(folder.path(), None).unwrap();
    assert_eq!((without.broken, without.unchecked), (0, 10));

    let path = segments(folder.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let entries = forge(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let report = verify(folder.path(), None).unwrap();
    assert_eq!(report.breaks[0].offset, entries[1], "{:?}", report.breaks);
    let report = verify(folder.path(), Some(&key)).unwrap();
    assert_eq!(report.breaks[0].offset, entries[0], "{:?}", report.breaks);
}

/// Replaces the first batch by another with right checksums and hash, as one without the key can. Returns the
/// offsets of the batches.
fn forge(bytes: &mut Vec<u8>) -> Vec<u64> {
    let mut walk = Walk::new(Cursor::new(bytes.clone()));
    let mut batches = Vec::new();
    while let Step::Frame { offset, header, data } = walk.next(|_| true).unwrap() {
        if header.kind == Kind::Batch {
            batches.push((offset, header, data.unwrap()));
        }
    }
    let (offset, mut header, data) = batches[0].clone();
    let raw = String::from_utf8(header.unpack(&data).unwrap()).unwrap().replace("flow 1", "flow 9");
    let new = zstd::bulk::compress(raw.as_bytes(), 1).unwrap();
    let old = usize::try_from(header.frame_bytes()).unwrap();
    header.finish(&new, None);
    header.keyed = true;
    let mut frame = header.encode().to_vec();
    frame.extend(new);
    let at = usize::try_from(offset).unwrap();
    let shift = frame.len() as i64 - old as i64;
    bytes.splice(at..at + old, frame);
    batches
        .iter()
        .map(
            |(offset, ..)| {
                if *offset == batches[0].0 { *offset } else { offset.checked_add_signed(shift).unwrap() }
            },
        )
        .collect()
}

#[test]
fn retention_takes_the_oldest_by_size_and_by_age() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &Options { retain_bytes: 9000, ..options() }, 400, 5);
    let size: u64 = segments(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!((4000..=13_000).contains(&size), "{size}");
    let reader = Reader::open(folder.path()).unwrap();
    let left = numbers(reader.lines(Range::default()).unwrap());
    assert!(left.len() < 300 && left.last() == Some(&400) && left.windows(2).all(|two| two[0] + 1 == two[1]));
    write_age(folder.path());
    let lines = reader.lines(Range::default()).unwrap();
    assert_eq!(lines.count(), 0);
}

/// Opens the log a long time later.
fn write_age(folder: &Path) {
    let later = Now { steady_ns: 3600 * NS_PER_S, calendar_ns: 90 * 24 * 3600 * NS_PER_S };
    let options = Options { segment_ns: 1, ..options() };
    let mut writer = writer(folder, &options);
    (0..3).for_each(|_| writer.tick(later));
}

#[test]
fn numbers_lost_on_the_way_are_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), &options());
    writer.push(&line(1), 1, 1, now(1));
    writer.push(&line(MAX_QUEUED as u64), MAX_QUEUED as u64, 1, now(1));
    let gaps = writer.gaps();
    assert_eq!((gaps[0].from, gaps[0].to, gaps[0].cause), (2, Some(MAX_QUEUED as u64 - 1), "queue_full"));
}

#[test]
fn from_the_position_of_the_writer_on_only_newer_records_are_read() {
    for repack in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), &Options { repack, ..options() });
        let mut seen = vec![(writer.position(), 0)];
        for seq in 1..=100 {
            writer.push(&line(seq), seq, seq * NS_PER_S, now(seq));
            writer.commit(now(seq));
            seen.push((writer.position(), seq));
            (0..20).for_each(|_| writer.tick(now(seq)));
            seen.push((writer.position(), seq));
        }
        let reader = Reader::open(folder.path()).unwrap();
        for (position, seq) in seen {
            let mut follow = reader.follow_from(position);
            let newer = std::iter::from_fn(|| follow.poll());
            assert_eq!(numbers(newer), (seq + 1..=100).collect::<Vec<_>>(), "{position:?}");
        }
    }
}

#[test]
fn what_is_withdrawn_is_not_written_and_its_numbers_are_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), &options());
    for seq in 1..=5 {
        writer.push(&line(seq), seq, seq * NS_PER_S, now(seq));
    }
    writer.commit(now(5));
    for seq in 6..=9 {
        writer.push(&line(seq), seq, seq * NS_PER_S, now(seq));
    }
    writer.withdraw();
    for seq in 6..=7 {
        writer.push(&line(seq), seq, seq * NS_PER_S, now(seq));
    }
    assert!(writer.close(now(9)));
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(numbers(reader.lines(Range::default()).unwrap()), (1..=7).collect::<Vec<_>>());
    let report = verify(folder.path(), None).unwrap();
    assert_eq!((report.records, report.broken, report.gaps.len()), (7, 0, 0));
}
