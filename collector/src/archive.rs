//! Where records are kept: one flow log for each tenant.
//!
//! One log a tenant, not one a sensor: records of all its sensors become durable with one write and one
//! fdatasync, a thousand sensors need no thousand open files, and a question about a fleet reads one log. Who sent
//! a record stands in its line. The log's own numbers are the collector's, under the collector's id in place of a
//! boot.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use flow_log::{
    Boot, Position, Reader,
    storage::{Disk, OpenError},
    writer::{self, Now, Options, Writer},
};
use proto::v1::{Record, Sensor, record::Body};
use thiserror::Error;

/// Tenants of one collector.
pub const MAX_TENANTS: usize = 256;

/// Why records are not stored.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The log of a tenant cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] flow_log::ReadError),
    /// The operating system refuses.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The storage takes nothing, for now.
    #[error("the storage fails ({0}); sensors keep their records until it works again")]
    Failing(&'static str),
    /// More tenants than one collector has.
    #[error("more than {MAX_TENANTS} tenants")]
    Tenants,
}

/// Durable records by tenant. Another implementation may keep them elsewhere.
pub trait Archive {
    /// Appends lines with the times of their records; they are durable when this returns well, and none of them is
    /// when it does not.
    fn append(&mut self, tenant: &str, lines: &[(&[u8], u64)]) -> Result<(), ArchiveError>;
    /// Appends records of the collector itself, numbered here; gives them back with their numbers.
    fn append_own(&mut self, tenant: &str, time: u64, bodies: &[Body]) -> Result<Vec<Record>, ArchiveError>;
    /// Does what is due: completing segments, retention.
    fn tick(&mut self);
    /// How far each tenant's log goes: everything behind is newer.
    fn positions(&self) -> Vec<(String, Position)>;
}

/// Logs in folders below one.
pub struct Folders {
    root: PathBuf,
    options: Options,
    /// Name and id of this collector, as in its records.
    host: String,
    id: String,
    clock: Instant,
    tenants: BTreeMap<String, Tenant>,
}

struct Tenant {
    writer: Writer<Disk>,
    next_seq: u64,
}

/// The folder of a tenant's log.
pub fn folder(root: &Path, tenant: &str) -> PathBuf {
    root.join(tenant)
}

impl Folders {
    /// Opens the logs below `root`. The collector numbers its own records as `host`, with `id` (a UUID) as boot.
    pub fn open(root: &Path, options: Options, host: &str, id: &str) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Io { path: root.to_owned(), source };
        crate::files::make_folder(root).map_err(failed)?;
        let mut folders = Self {
            root: root.to_owned(),
            options: Options { commit_records: usize::MAX, ..options },
            host: host.to_owned(),
            id: id.to_owned(),
            clock: Instant::now(),
            tenants: BTreeMap::new(),
        };
        for entry in fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
                folders.tenant(&name)?;
            }
        }
        Ok(folders)
    }

    /// Lines of a tenant behind `position`, oldest first.
    pub fn newer(
        &self,
        tenant: &str,
        position: Position,
    ) -> Result<impl Iterator<Item = flow_log::Line> + use<>, ArchiveError> {
        let mut follow = Reader::open(&folder(&self.root, tenant))?.follow_from(position);
        // Damage was told and set aside when the log was opened.
        Ok(std::iter::from_fn(move || {
            loop {
                match follow.poll()? {
                    Ok(line) => return Some(line),
                    Err(error @ flow_log::ReadError::Io { .. }) => {
                        tracing::error!(%error, "the log cannot be read to its end");
                        return None;
                    }
                    Err(error) => tracing::warn!(%error, "part of the log cannot be read"),
                }
            }
        }))
    }

    /// Ends every log in order; false when one could not be.
    pub fn close(self) -> bool {
        let clock = self.clock;
        // Each is closed, whatever became of the one before.
        let ends: Vec<bool> =
            self.tenants.into_values().map(|tenant| tenant.writer.close(now(clock))).collect();
        ends.into_iter().all(|closed| closed)
    }

    fn tenant(&mut self, name: &str) -> Result<&mut Tenant, ArchiveError> {
        if !self.tenants.contains_key(name) {
            if self.tenants.len() >= MAX_TENANTS {
                return Err(ArchiveError::Tenants);
            }
            let path = folder(&self.root, name);
            let failed = |source| ArchiveError::Io { path: path.clone(), source };
            let disk = Disk::open(&path)?;
            let packer = Box::new(writer::Thread::start().map_err(failed)?);
            let (writer, recovery) =
                Writer::open(disk, packer, self.options.clone(), Boot::parse(&self.id), now(self.clock))
                    .map_err(failed)?;
            if recovery.truncated > 0 {
                tracing::warn!(tenant = name, bytes = recovery.truncated, "an unfinished write was cut off");
            }
            for file in &recovery.quarantined {
                tracing::warn!(file = %path.join(file).display(), "a damaged file was set aside");
            }
            self.tenants.insert(name.to_owned(), Tenant { writer, next_seq: recovery.next_seq });
        }
        self.tenants.get_mut(name).ok_or(ArchiveError::Tenants)
    }
}

impl Archive for Folders {
    fn append(&mut self, tenant: &str, lines: &[(&[u8], u64)]) -> Result<(), ArchiveError> {
        let clock = self.clock;
        self.tenant(tenant)?.append(lines, clock)
    }

    fn append_own(&mut self, tenant: &str, time: u64, bodies: &[Body]) -> Result<Vec<Record>, ArchiveError> {
        let (clock, host, boot_id) = (self.clock, self.host.clone(), self.id.clone());
        let tenant = self.tenant(tenant)?;
        let mut records = Vec::with_capacity(bodies.len());
        for (seq, body) in (tenant.next_seq..).zip(bodies) {
            let mut record = Record::new(time, body.clone());
            record.sensor = Some(Sensor { host: host.clone(), boot_id: boot_id.clone(), seq });
            records.push(record);
        }
        let lines: Vec<Vec<u8>> =
            records.iter().filter_map(|record| serde_json::to_vec(record).ok()).collect();
        let lines: Vec<(&[u8], u64)> = lines.iter().map(|line| (line.as_slice(), time)).collect();
        tenant.append(&lines, clock)?;
        Ok(records)
    }

    fn tick(&mut self) {
        let clock = self.clock;
        for tenant in self.tenants.values_mut() {
            tenant.writer.tick(now(clock));
            // Numbers of the collector's own have no meaning to anybody else.
            tenant.writer.gaps();
        }
    }

    fn positions(&self) -> Vec<(String, Position)> {
        self.tenants.iter().map(|(name, tenant)| (name.clone(), tenant.writer.position())).collect()
    }
}

impl Tenant {
    /// Callers keep a group of lines below the writer's limits on what waits, so it is one commit.
    fn append(&mut self, lines: &[(&[u8], u64)], clock: Instant) -> Result<(), ArchiveError> {
        if self.writer.failure().is_some() {
            self.writer.commit(now(clock));
        }
        if let Some(cause) = self.writer.failure() {
            return Err(ArchiveError::Failing(cause));
        }
        let mut buffer = Vec::new();
        for (seq, (line, time)) in (self.next_seq..).zip(lines) {
            buffer.clear();
            buffer.extend_from_slice(line);
            buffer.push(b'\n');
            self.writer.push(&buffer, seq, *time, now(clock));
        }
        self.writer.commit(now(clock));
        if let Some(cause) = self.writer.failure() {
            self.writer.withdraw();
            return Err(ArchiveError::Failing(cause));
        }
        self.next_seq += lines.len() as u64;
        Ok(())
    }
}

fn now(clock: Instant) -> Now {
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Now { steady_ns: ns(clock.elapsed()), calendar_ns: calendar() }
}

/// The collector's clock, nanoseconds since the epoch.
pub fn calendar() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proto::v1::Status;

    use super::*;

    const ID: &str = "70f33f75-5292-40cb-8ee1-433011488d54";

    fn lines(folders: &Folders, tenant: &str, position: Position) -> Vec<Vec<u8>> {
        folders.newer(tenant, position).unwrap().map(|line| line.bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_appended_is_there_after_a_restart_and_only_with_its_tenant() {
        let root = tempfile::tempdir().unwrap();
        let open = || Folders::open(root.path(), Options::default(), "c", ID).unwrap();
        let mut folders = open();
        folders.append("one", &[(b"{1}", 5), (b"{2}", 6)]).unwrap();
        let position = folders.positions()[0].1;
        folders.append("two", &[(b"{3}", 7)]).unwrap();
        // Killed: nothing is closed.
        drop(folders);
        let mut folders = open();
        folders.append("one", &[(b"{4}", 8)]).unwrap();
        assert_eq!(lines(&folders, "one", Position::default()), [b"{1}", b"{2}", b"{4}"]);
        assert_eq!(lines(&folders, "one", position), [b"{4}"]);
        assert_eq!(lines(&folders, "two", Position::default()), [b"{3}"]);
        assert!(folders.close());
    }

    #[test]
    fn the_collectors_own_records_have_numbers_that_are_used_once() {
        let root = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut folders = Folders::open(root.path(), Options::default(), "c", ID).unwrap();
            folders.append("one", &[(b"{1}", 5)]).unwrap();
            let bodies = vec![Body::Status(Status::default()), Body::Status(Status::default())];
            for record in folders.append_own("one", 9, &bodies).unwrap() {
                let (host, boot, seq) = record.place().unwrap();
                assert_eq!((host, boot), ("c", ID));
                assert!(seen.last().is_none_or(|last| *last < seq));
                seen.push(seq);
            }
        }
        assert_eq!(seen.len(), 4);
    }
}
