//! Records in an SQLite database: one transaction a batch, safe against a kill at any moment, and
//! shared between processes.
//!
//! A damaged database is set aside and a new one begun: the torrents are then checked like new
//! ones, which costs time and never data.

mod schema;
mod shelf;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use metainfo::{FILES_MAX, InfoHash};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use wire::Bitfield;

use crate::arrangement::Arrangement;
use crate::last_use::LastUse;
use crate::record::{FileSeen, Progress, RecordKey, ResumeRecord};
use crate::shelf::{Source, Wanted};
use crate::state::{Save, StateError, StateStore};
use crate::totals::Totals;

/// The database's name in the state folder.
const FILE_NAME: &str = "state.sqlite";

/// How long another process may hold the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// And how long to wait before another try, where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Damaged databases kept; a person who has this many has other worries.
const SET_ASIDE_MAX: u32 = 1000;

/// Records in a database file.
#[derive(Debug)]
pub struct SqliteState {
    path: PathBuf,
    /// Records are saved with one connection and looked up with another, so that who adds a torrent
    /// does not wait until the disk has what others reported.
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    last_use: LastUse,
}

impl SqliteState {
    /// Opens the database in a folder, making both if needed. A damaged one is renamed to
    /// `state.sqlite.corrupt-N` and a new one begun.
    ///
    /// # Errors
    /// [`StateError::Newer`] for a later version's; what the system says otherwise.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StateError> {
        let folder = folder.as_ref();
        // Only for the user: a .torrent file of a private tracker has a secret in it.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| StateError::Folder { path: folder.to_path_buf(), error })?;
        let path = folder.join(FILE_NAME);
        let writer = match connect(&path) {
            Err(StateError::Corrupt(reason)) => {
                set_aside(&path, &reason)?;
                connect(&path)?
            }
            result => result?,
        };
        let reader = Mutex::new(another_connection(&path)?);
        Ok(Self { path, writer: Mutex::new(writer), reader, last_use: LastUse::default() })
    }
}

/// To a database that was looked at already.
fn another_connection(path: &Path) -> Result<Connection, StateError> {
    let connection = Connection::open(path).map_err(from_sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(from_sqlite)?;
    // One plan whatever the values are. Otherwise a statement that is kept is compiled anew at each use,
    // since its values were cleared: that took three times as long as all else of a start.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(from_sqlite)?;
    Ok(connection)
}

/// A connection holds no more than its database: an unfinished transaction is undone by the next.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(path: &Path) -> Result<Connection, StateError> {
    let connection = another_connection(path)?;
    use_write_ahead_log(&connection).map_err(from_sqlite)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(from_sqlite)?;
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(from_sqlite)?;
    if verdict != "ok" {
        return Err(StateError::Corrupt(verdict));
    }
    schema::migrate(connection, path)
}

/// Another process that does the same at this moment makes it fail at once, whatever the busy
/// timeout says.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        let changed = connection.pragma_update(None, "journal_mode", "WAL");
        let busy = changed.as_ref().err().and_then(rusqlite::Error::sqlite_error_code)
            == Some(ErrorCode::DatabaseBusy);
        if !busy || Instant::now() >= until {
            return changed;
        }
        thread::sleep(BUSY_PAUSE);
    }
}

/// Renames a damaged database and the files that belong to it.
fn set_aside(path: &Path, reason: &str) -> Result<(), StateError> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = (1..=SET_ASIDE_MAX).find(|number| !with(&format!(".corrupt-{number}")).exists());
    let mark = format!(".corrupt-{}", free.unwrap_or(SET_ASIDE_MAX));
    let target = with(&mark);
    tracing::error!(path = %path.display(), to = %target.display(), reason,
        "the state is damaged: it is set aside, and torrents will be checked again");
    let moved = fs::rename(path, &target);
    moved
        .map_err(|error| StateError::Corrupt(format!("{reason}; can't be moved aside: {error}")))?;
    for belonging in ["-wal", "-shm"] {
        let from = with(belonging);
        if from.exists() {
            let moved = fs::rename(&from, with(&format!("{mark}{belonging}")));
            // Left behind, it would be taken for the new database's.
            moved.map_err(|error| StateError::Corrupt(format!("{}: {error}", from.display())))?;
        }
    }
    Ok(())
}

impl StateStore for SqliteState {
    fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<ResumeRecord>>, StateError> {
        self.last_use.note();
        let reader = lock(&self.reader);
        let _one_look = OneLook::begin(&reader).map_err(from_sqlite)?;
        keys.iter().map(|key| load_one(&reader, key)).collect::<Result<_, _>>().map_err(from_sqlite)
    }

    fn keys(&self) -> Result<Vec<RecordKey>, StateError> {
        let reader = lock(&self.reader);
        let mut rows = reader
            .prepare_cached("SELECT info_hash, root FROM torrents ORDER BY id")
            .map_err(from_sqlite)?;
        let keys = rows.query_map([], read_key).map_err(from_sqlite)?;
        keys.collect::<Result<_, _>>().map_err(from_sqlite)
    }

    fn save(&self, batch: &[Save], through: bool) -> Result<(), StateError> {
        self.last_use.note();
        let mut writer = lock(&self.writer);
        // In WAL mode NORMAL survives any kill and loses the last commits, never more, at a power
        // cut; FULL does not lose these either.
        let level = if through { "FULL" } else { "NORMAL" };
        writer.pragma_update(None, "synchronous", level).map_err(from_sqlite)?;
        let change = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(from_sqlite)?;
        for save in batch {
            save_one(&change, save).map_err(from_sqlite)?;
        }
        change.commit().map_err(from_sqlite)
    }

    fn remove(&self, key: &RecordKey) -> Result<(), StateError> {
        let removed = lock(&self.writer).execute(
            "DELETE FROM torrents WHERE info_hash = ?1 AND root = ?2",
            params![&key.info_hash.0[..], key.root.as_os_str().as_bytes()],
        );
        removed.map(drop).map_err(from_sqlite)
    }

    fn sources(&self, wanted: &Wanted) -> Result<Vec<Source>, StateError> {
        self.last_use.note();
        let reader = lock(&self.reader);
        let _one_look = OneLook::begin(&reader).map_err(from_sqlite)?;
        shelf::look(&reader, wanted).map_err(from_sqlite)
    }

    fn unshelved(&self) -> Result<Vec<(RecordKey, bool)>, StateError> {
        self.last_use.note();
        shelf::without(&lock(&self.reader)).map_err(from_sqlite)
    }

    fn start_over(&self) -> Result<(), StateError> {
        let (mut writer, mut reader) = (lock(&self.writer), lock(&self.reader));
        // Closed first, so that nothing of it is written into the new one.
        for connection in [&mut *writer, &mut *reader] {
            *connection = Connection::open_in_memory().map_err(from_sqlite)?;
        }
        if self.path.exists() {
            set_aside(&self.path, "found in use")?;
        }
        *writer = connect(&self.path)?;
        *reader = another_connection(&self.path)?;
        Ok(())
    }

    /// Pages that a start of thousands of torrents looked at: 2 MiB a connection.
    fn rest(&self) -> bool {
        if !self.last_use.is_over() {
            return false;
        }
        for connection in [&self.writer, &self.reader] {
            let Ok(connection) = connection.try_lock() else { continue };
            if let Err(error) = connection.execute_batch("PRAGMA shrink_memory") {
                tracing::debug!(%error, "the state keeps its memory");
            }
        }
        true
    }
}

/// What is read while this lives is of one moment. Unlike rusqlite's transactions, it compiles its
/// statements once: thousands of records are read at a start.
struct OneLook<'a>(&'a Connection);

impl<'a> OneLook<'a> {
    fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(connection))
    }
}

impl Drop for OneLook<'_> {
    fn drop(&mut self) {
        // Nothing was written; if it fails, the next one says so.
        let _ = self.0.prepare_cached("COMMIT").and_then(|mut end| end.execute([]));
    }
}

/// One torrent's record, but for its files.
const FIND: &str = "SELECT id, pieces, written, durable, boot_id, clean, committed_ns, root_device,
        added_at, completed_at, file_count, torrents.torrent,
        uploaded, downloaded, active_ms, seeding_ms
    FROM torrents LEFT JOIN totals ON totals.torrent = id WHERE info_hash = ?1 AND root = ?2";

fn load_one(reader: &Connection, key: &RecordKey) -> rusqlite::Result<Option<ResumeRecord>> {
    let mut find = reader.prepare_cached(FIND)?;
    let named = params![&key.info_hash.0[..], key.root.as_os_str().as_bytes()];
    let Some(header) = find.query_row(named, Header::read).optional()? else { return Ok(None) };
    let Some(progress) = header.progress() else {
        tracing::error!(torrent = %key.info_hash, "a damaged record is ignored");
        return Ok(None);
    };
    let mut files = vec![None; header.file_count];
    let mut rows =
        reader.prepare_cached("SELECT file, length, modified_ns FROM files WHERE torrent = ?1")?;
    let mut rows = rows.query([header.id])?;
    while let Some(row) = rows.next()? {
        let (file, seen) = read_file(row)?;
        if let Some(slot) = files.get_mut(file) {
            *slot = Some(seen);
        }
    }
    let arrangement = load_arrangement(reader, key, header.id)?;
    let torrent = header.torrent.map(Into::into);
    let totals = header.totals;
    Ok(Some(ResumeRecord { progress, files, torrent, arrangement, totals }))
}

fn load_arrangement(
    reader: &Connection,
    key: &RecordKey,
    id: i64,
) -> rusqlite::Result<Arrangement> {
    let mut find =
        reader.prepare_cached("SELECT arrangement FROM arrangements WHERE torrent = ?1")?;
    let found: Option<Vec<u8>> = find.query_row([id], |row| row.get(0)).optional()?;
    Ok(found.map_or_else(Arrangement::default, |bytes| {
        Arrangement::decode(&bytes).unwrap_or_else(|| {
            tracing::error!(torrent = %key.info_hash, "a damaged arrangement is ignored");
            Arrangement::default()
        })
    }))
}

fn save_one(change: &Connection, save: &Save) -> rusqlite::Result<()> {
    if let Some(progress) = &save.progress {
        save_progress(change, save, progress)?;
    }
    let Totals { uploaded, downloaded, active_ms, seeding_ms } = save.totals;
    change
        .prepare_cached(
            "INSERT INTO totals (torrent, uploaded, downloaded, active_ms, seeding_ms)
             SELECT id, ?3, ?4, ?5, ?6 FROM torrents WHERE info_hash = ?1 AND root = ?2
             ON CONFLICT (torrent) DO UPDATE SET
                uploaded = max(uploaded, ?3), downloaded = max(downloaded, ?4),
                active_ms = max(active_ms, ?5), seeding_ms = max(seeding_ms, ?6)",
        )?
        .execute(params![
            &save.key.info_hash.0[..],
            save.key.root.as_os_str().as_bytes(),
            to_integer(uploaded),
            to_integer(downloaded),
            to_integer(active_ms),
            to_integer(seeding_ms),
        ])?;
    if let Some(shelf) = &save.shelf {
        shelf::put(change, &save.key, shelf)?;
    }
    Ok(())
}

fn save_progress(change: &Connection, save: &Save, progress: &Progress) -> rusqlite::Result<()> {
    let device = progress.root_device.map(u64::to_le_bytes);
    let id: i64 = change
        .prepare_cached(
            "INSERT INTO torrents (info_hash, root, pieces, written, durable, boot_id, clean,
                committed_ns, root_device, added_at, completed_at, file_count, torrent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (info_hash, root) DO UPDATE SET
                pieces = ?3, written = ?4, durable = ?5, boot_id = ?6, clean = ?7,
                committed_ns = ?8, root_device = ?9, added_at = ?10, completed_at = ?11,
                file_count = ?12, torrent = coalesce(?13, torrent)
             RETURNING id",
        )?
        .query_row(
            params![
                &save.key.info_hash.0[..],
                save.key.root.as_os_str().as_bytes(),
                progress.written.len(),
                progress.written.to_wire(),
                progress.durable.to_wire(),
                &*progress.boot_id,
                progress.clean,
                progress.committed_ns,
                device.as_ref().map(|bytes| &bytes[..]),
                progress.added_at,
                progress.completed_at,
                to_integer(save.file_count as u64),
                save.torrent.as_deref(),
            ],
            |row| row.get(0),
        )?;
    if let Some(arrangement) = &save.arrangement {
        if *arrangement == Arrangement::default() {
            change.prepare_cached("DELETE FROM arrangements WHERE torrent = ?1")?.execute([id])?;
        } else {
            change
                .prepare_cached(
                    "INSERT OR REPLACE INTO arrangements (torrent, arrangement) VALUES (?1, ?2)",
                )?
                .execute(params![id, arrangement.encode()])?;
        }
    }
    let mut put = change.prepare_cached(
        "INSERT OR REPLACE INTO files (torrent, file, length, modified_ns) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut forget = change.prepare_cached("DELETE FROM files WHERE torrent = ?1 AND file = ?2")?;
    for (file, seen) in &save.files {
        let file = to_integer(*file as u64);
        match seen {
            Some(seen) => {
                put.execute(params![id, file, to_integer(seen.length), seen.modified_ns])?
            }
            None => forget.execute(params![id, file])?,
        };
    }
    Ok(())
}

/// Of a row that begins with the info hash and the root.
fn read_key(row: &Row<'_>) -> rusqlite::Result<RecordKey> {
    let root = PathBuf::from(OsString::from_vec(row.get(1)?));
    Ok(RecordKey { info_hash: InfoHash(row.get(0)?), root: root.into() })
}

/// A torrent's row, not yet believed.
struct Header {
    id: i64,
    pieces: u32,
    written: Vec<u8>,
    durable: Vec<u8>,
    boot_id: String,
    clean: bool,
    committed_ns: i64,
    root_device: Option<Vec<u8>>,
    added_at: i64,
    completed_at: Option<i64>,
    file_count: usize,
    torrent: Option<Vec<u8>>,
    totals: Totals,
}

impl Header {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            pieces: row.get(1)?,
            written: row.get(2)?,
            durable: row.get(3)?,
            boot_id: row.get(4)?,
            clean: row.get(5)?,
            committed_ns: row.get(6)?,
            root_device: row.get(7)?,
            added_at: row.get(8)?,
            completed_at: row.get(9)?,
            file_count: usize::try_from(row.get::<_, i64>(10)?).unwrap_or(0).min(FILES_MAX + 1),
            torrent: row.get(11)?,
            totals: read_totals(row)?,
        })
    }

    /// `None` when the bitfields are not of this many pieces.
    fn progress(&self) -> Option<Progress> {
        Some(Progress {
            written: Bitfield::from_wire(&self.written, self.pieces).ok()?,
            durable: Bitfield::from_wire(&self.durable, self.pieces).ok()?,
            boot_id: self.boot_id.as_str().into(),
            clean: self.clean,
            committed_ns: self.committed_ns,
            root_device: self
                .root_device
                .as_deref()
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes),
            added_at: self.added_at,
            completed_at: self.completed_at,
        })
    }
}

/// Nothing, for a row that has none.
fn read_totals(row: &Row<'_>) -> rusqlite::Result<Totals> {
    let sum = |column| -> rusqlite::Result<u64> {
        let value: Option<i64> = row.get(column)?;
        Ok(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0))
    };
    Ok(Totals {
        uploaded: sum(12)?,
        downloaded: sum(13)?,
        active_ms: sum(14)?,
        seeding_ms: sum(15)?,
    })
}

fn read_file(row: &Row<'_>) -> rusqlite::Result<(usize, FileSeen)> {
    let file = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
    let length = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    Ok((file, FileSeen { length, modified_ns: row.get(2)? }))
}

/// SQLite's integers are signed; nothing stored here reaches the sign.
fn to_integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[allow(clippy::needless_pass_by_value)] // its place is in `map_err`
fn from_sqlite(error: rusqlite::Error) -> StateError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StateError::Corrupt(error.to_string())
        }
        // A table of another shape, or a value of another type: not what this program wrote.
        _ if matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        ) =>
        {
            StateError::Corrupt(error.to_string())
        }
        _ => StateError::Database(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
