//! What outlives a restart and is no record: how far each sensor's records are stored, tokens, this collector's id.
//!
//! SQLite, one writer. It may be behind the archive after a crash; the archive then says what is newer
//! (see [`crate::store`]), so nothing is stored twice and nothing acknowledged is missing.

use std::{path::Path, time::Duration};

use flow_log::Position;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::peer::Peer;

/// Name of the file in the folder of state.
pub const FILE: &str = "state.sqlite";
/// Wait for another process that reads the file.
const BUSY: Duration = Duration::from_secs(5);
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stream (
  tenant TEXT NOT NULL, host TEXT NOT NULL, boot_id TEXT NOT NULL,
  seq INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  PRIMARY KEY (tenant, host, boot_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS archive (
  tenant TEXT PRIMARY KEY, segment INTEGER NOT NULL, records INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS token (
  hash BLOB PRIMARY KEY, tenant TEXT NOT NULL, note TEXT NOT NULL
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

    /// The id of this collector, a random UUID (RFC 9562 5.4) made the first time.
    pub fn id(&self) -> rusqlite::Result<String> {
        let made = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) \
                    || '-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))";
        self.0.execute(&format!("INSERT OR IGNORE INTO mark VALUES ('id', {made})"), [])?;
        self.0.query_row("SELECT value FROM mark WHERE name = 'id'", [], |row| row.get(0))
    }

    /// All streams.
    pub fn streams(&self) -> rusqlite::Result<Vec<(Stream, Progress)>> {
        let mut query = self.0.prepare("SELECT tenant, host, boot_id, seq, last_seen FROM stream")?;
        let rows = query.query_map([], |row| {
            let peer = Peer { tenant: row.get(0)?, host: row.get(1)? };
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((Stream { peer, boot_id: row.get(2)? }, Progress { seq: number(3)?, last_seen: number(4)? }))
        })?;
        rows.collect()
    }

    /// Writes progress and the positions of the archive that it belongs to, all or nothing.
    pub fn save<'a>(
        &mut self,
        streams: impl IntoIterator<Item = (&'a Stream, Progress)>,
        positions: &[(String, Position)],
    ) -> rusqlite::Result<()> {
        let change = self.0.transaction()?;
        for (Stream { peer, boot_id }, progress) in streams {
            change.prepare_cached("INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?, ?)")?.execute(
                params![
                    peer.tenant,
                    peer.host,
                    boot_id,
                    progress.seq.cast_signed(),
                    progress.last_seen.cast_signed()
                ],
            )?;
        }
        for (tenant, Position { segment, records }) in positions {
            change.prepare_cached("INSERT OR REPLACE INTO archive VALUES (?, ?, ?)")?.execute(params![
                tenant,
                segment.cast_signed(),
                records.cast_signed()
            ])?;
        }
        change.commit()
    }

    /// The position of a tenant's archive at the last [`State::save`]; the beginning when there was none.
    pub fn position(&self, tenant: &str) -> rusqlite::Result<Position> {
        let found =
            self.0.query_row("SELECT segment, records FROM archive WHERE tenant = ?", [tenant], |row| {
                let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
                Ok(Position { segment: number(0)?, records: number(1)? })
            });
        Ok(found.optional()?.unwrap_or_default())
    }

    /// Lets who has the token of this hash read what a tenant has.
    pub fn add_token(&self, hash: &[u8], tenant: &str, note: &str) -> rusqlite::Result<()> {
        self.0.execute("INSERT INTO token VALUES (?, ?, ?)", params![hash, tenant, note]).map(drop)
    }

    /// The tenant of the token with this hash.
    pub fn tenant(&self, hash: &[u8]) -> rusqlite::Result<Option<String>> {
        let mut query = self.0.prepare_cached("SELECT tenant FROM token WHERE hash = ?")?;
        query.query_row([hash], |row| row.get(0)).optional()
    }

    /// Ends all tokens of a tenant with this note; how many there were.
    pub fn remove_tokens(&self, tenant: &str, note: &str) -> rusqlite::Result<usize> {
        self.0.execute("DELETE FROM token WHERE tenant = ? AND note = ?", [tenant, note])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_position_and_id_come_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let peer = Peer::new("acme", "node-1").unwrap();
        let stream = Stream { peer, boot_id: "b".into() };
        let progress = Progress { seq: u64::MAX, last_seen: 7 };
        let place = |records| Position { segment: 3, records };
        let mut state = State::open(&path).unwrap();
        let id = state.id().unwrap();
        assert_eq!(flow_log::Boot::parse(&id).to_string(), id);
        assert_eq!(state.position("acme").unwrap(), Position::default());
        state.save([(&stream, Progress::default())], &[("acme".into(), place(1))]).unwrap();
        state.save([(&stream, progress)], &[("acme".into(), place(2))]).unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert_eq!(state.streams().unwrap(), [(stream, progress)]);
        assert_eq!((state.position("acme").unwrap(), state.id().unwrap()), (place(2), id));
        assert_ne!(State::open(&folder.path().join("other")).unwrap().id().unwrap(), state.id().unwrap());
    }
}
