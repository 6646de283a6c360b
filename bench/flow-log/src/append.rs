//! Appending to each store.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, bail};
use flow_log::{
    Boot,
    storage::Disk,
    writer::{Now, Options, Thread, Writer},
};
use redb::TableDefinition;

use crate::records::{BOOT, FIRST_TIME};

/// A store and how to append to it.
pub(crate) struct Store {
    pub(crate) name: &'static str,
    pub(crate) append: fn(&Path, &[Vec<u8>], usize) -> Result<()>,
}

pub(crate) const STORES: [Store; 6] = [
    Store { name: "flow-log", append: flow_log },
    Store { name: "sqlite", append: sqlite },
    Store { name: "redb", append: redb },
    Store { name: "fjall", append: fjall },
    Store { name: "yaque", append: yaque },
    Store { name: "yaque, synced", append: yaque_synced },
];

pub(crate) fn open(folder: &Path, options: Options) -> Result<Writer<Disk>> {
    let packer = Box::new(Thread::start()?);
    Ok(Writer::open(Disk::open(folder)?, packer, options, Boot::parse(BOOT), Now::default())?.0)
}

fn now(ns: u64) -> Now {
    Now { steady_ns: ns, calendar_ns: FIRST_TIME + ns }
}

/// Batches become durable as the records come; what is complete is rewritten meanwhile.
fn flow_log(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    let mut writer = open(folder, Options { commit_records: batch, ..Options::default() })?;
    for (seq, line) in (1..).zip(lines) {
        writer.push(line, seq, FIRST_TIME + seq, now(seq));
        writer.tick(now(seq));
    }
    if !writer.close(now(lines.len() as u64)) {
        bail!("the flow log could not be written");
    }
    Ok(())
}

/// The log as it is once every segment is complete.
pub(crate) fn packed(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    let mut writer = open(folder, Options { commit_records: batch, ..Options::default() })?;
    for (seq, line) in (1..).zip(lines) {
        let time = proto::v1::Record::from_json(line)?.time;
        writer.push(line, seq, time, now(seq));
        writer.tick(now(seq));
    }
    writer.commit(now(lines.len() as u64));
    // A day later the last segment is old enough.
    let later = now(25 * 3600 * 1_000_000_000);
    while !writer.is_idle() {
        writer.tick(later);
        std::thread::yield_now();
    }
    Ok(())
}

fn sqlite(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut database = rusqlite::Connection::open(folder.join("log.db"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, line BLOB NOT NULL)", [])?;
    for batch in lines.chunks(batch) {
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO log (line) VALUES (?1)")?;
            for line in batch {
                insert.execute([line])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

fn redb(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
    std::fs::create_dir_all(folder)?;
    let database = redb::Database::create(folder.join("log.redb"))?;
    let mut seq = 0;
    for batch in lines.chunks(batch) {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for line in batch {
                seq += 1;
                table.insert(seq, line.as_slice())?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

fn fjall(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    let database = fjall::Database::builder(folder).open()?;
    let log = database.keyspace("log", fjall::KeyspaceCreateOptions::default)?;
    let mut seq = 0_u64;
    for batch in lines.chunks(batch) {
        for line in batch {
            seq += 1;
            log.insert(seq.to_be_bytes(), line.as_slice())?;
        }
        database.persist(fjall::PersistMode::SyncData)?;
    }
    Ok(())
}

/// Its files are not synced at all.
fn yaque(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    queue(folder, lines, batch, &mut |_| Ok(()))
}

/// The same with fdatasync of the file it writes after each batch, as the others do.
fn yaque_synced(folder: &Path, lines: &[Vec<u8>], batch: usize) -> Result<()> {
    let mut open: Option<(PathBuf, File)> = None;
    queue(folder, lines, batch, &mut |folder| {
        let newest = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        // Segments are numbered; the file being written has the highest number.
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let newest = newest.filter(|path| path.extension().is_some_and(|end| end == "q")).max_by_key(number);
        let path = newest.ok_or_else(|| anyhow!("yaque has no segment"))?;
        if open.as_ref().is_none_or(|(known, _)| *known != path) {
            if let Some((_, before)) = &open {
                before.sync_data()?;
            }
            open = Some((path.clone(), File::open(&path)?));
        }
        open.iter().try_for_each(|(_, file)| Ok(file.sync_data()?))
    })
}

fn queue(
    folder: &Path,
    lines: &[Vec<u8>],
    batch: usize,
    sync: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<()> {
    let mut sender = yaque::Sender::open(folder)?;
    for batch in lines.chunks(batch) {
        sender.try_send_batch(batch).map_err(|_| anyhow!("yaque refuses a batch"))?;
        sync(folder)?;
    }
    Ok(())
}
