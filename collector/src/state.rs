//! What outlives a restart and is no record: how far each sensor's records are stored.
//!
//! SQLite, one writer. It may be behind the archive after a crash; the archive then says what is newer
//! (see [`crate::ingest`]), so nothing is stored twice and nothing acknowledged is missing.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::peer::Peer;

/// Wait for another process that reads the file.
const BUSY: Duration = Duration::from_secs(5);
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stream (
  tenant TEXT NOT NULL, host TEXT NOT NULL, boot_id TEXT NOT NULL,
  seq INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  PRIMARY KEY (tenant, host, boot_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// One boot of one sensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The sensor.
    pub peer: Peer,
    /// Its boot.
    pub boot_id: String,
}

/// How far a stream is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything up to here is stored or known to be missing.
    pub seq: u64,
    /// When something last came, nanoseconds since the epoch, by the collector's clock.
    pub last_seen: u64,
}

/// The state file.
pub struct State(Connection);

impl State {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    /// All streams.
    pub fn streams(&self) -> rusqlite::Result<Vec<(Stream, Progress)>> {
        let mut query = self.0.prepare("SELECT tenant, host, boot_id, seq, last_seen FROM stream")?;
        let rows = query.query_map([], |row| {
            let peer = Peer { tenant: row.get(0)?, host: row.get(1)? };
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((
                Stream { peer, boot_id: row.get(2)? },
                Progress { seq: number(3)?, last_seen: number(4)? },
            ))
        })?;
        rows.collect()
    }

    /// Writes progress and the archive position it belongs to, all or nothing.
    pub fn save<'a>(
        &mut self,
        streams: impl IntoIterator<Item = (&'a Stream, Progress)>,
        position: &str,
    ) -> rusqlite::Result<()> {
        let change = self.0.transaction()?;
        for (Stream { peer, boot_id }, progress) in streams {
            change.prepare_cached("INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?, ?)")?.execute(params![
                peer.tenant,
                peer.host,
                boot_id,
                progress.seq.cast_signed(),
                progress.last_seen.cast_signed()
            ])?;
        }
        change.execute("INSERT OR REPLACE INTO mark VALUES ('archive', ?)", [position])?;
        change.commit()
    }

    /// The archive position of the last [`State::save`].
    pub fn position(&self) -> rusqlite::Result<Option<String>> {
        self.0.query_row("SELECT value FROM mark WHERE name = 'archive'", [], |row| row.get(0)).optional()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_position_come_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let peer = Peer::new("acme", "node-1").unwrap();
        let stream = Stream { peer, boot_id: "b".into() };
        let progress = Progress { seq: u64::MAX, last_seen: 7 };
        let mut state = State::open(&path).unwrap();
        assert_eq!(state.position().unwrap(), None);
        state.save([(&stream, Progress::default())], "1").unwrap();
        state.save([(&stream, progress)], "2").unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert_eq!(state.streams().unwrap(), [(stream, progress)]);
        assert_eq!(state.position().unwrap().as_deref(), Some("2"));
    }
}
