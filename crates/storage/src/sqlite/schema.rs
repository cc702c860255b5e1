//! The tables, and how a database of an earlier version gets them.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::from_sqlite;
use crate::state::StateError;

/// The format below; older ones are brought up to it when opened.
pub(super) const VERSION: i64 = 4;

/// Those of the first version.
pub(super) const TABLES: &str = "
CREATE TABLE torrents (
    id INTEGER PRIMARY KEY,
    info_hash BLOB NOT NULL,
    root BLOB NOT NULL,
    pieces INTEGER NOT NULL,
    written BLOB NOT NULL,
    durable BLOB NOT NULL,
    boot_id TEXT NOT NULL,
    clean INTEGER NOT NULL,
    committed_ns INTEGER NOT NULL,
    root_device BLOB,
    uploaded INTEGER NOT NULL,
    downloaded INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    completed_at INTEGER,
    file_count INTEGER NOT NULL,
    torrent BLOB,
    UNIQUE (info_hash, root)
);
CREATE TABLE files (
    torrent INTEGER NOT NULL REFERENCES torrents (id) ON DELETE CASCADE,
    file INTEGER NOT NULL,
    length INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    PRIMARY KEY (torrent, file)
) WITHOUT ROWID;
";

/// What version 2 added: only torrents that their owner arranged have a row.
pub(super) const ARRANGEMENTS: &str = "
CREATE TABLE arrangements (
    torrent INTEGER PRIMARY KEY REFERENCES torrents (id) ON DELETE CASCADE,
    arrangement BLOB NOT NULL
);
";

/// What version 3 added. Bytes were a part of the torrent's row, which a seed should not have to write.
const TOTALS: &str = "
CREATE TABLE totals (
    torrent INTEGER PRIMARY KEY REFERENCES torrents (id) ON DELETE CASCADE,
    uploaded INTEGER NOT NULL,
    downloaded INTEGER NOT NULL,
    active_ms INTEGER NOT NULL,
    seeding_ms INTEGER NOT NULL
);
INSERT INTO totals SELECT id, uploaded, downloaded, 0, 0 FROM torrents;
ALTER TABLE torrents DROP COLUMN uploaded;
ALTER TABLE torrents DROP COLUMN downloaded;
";

/// What version 4 added: whole files by root, and torrents by what hints name (BEP 38).
const SHELVES: &str = "
CREATE TABLE shelf (
    torrent INTEGER NOT NULL REFERENCES torrents (id) ON DELETE CASCADE,
    file INTEGER NOT NULL,
    length INTEGER NOT NULL,
    root BLOB,
    path BLOB NOT NULL,
    PRIMARY KEY (torrent, file)
) WITHOUT ROWID;
CREATE INDEX shelf_roots ON shelf (root) WHERE root IS NOT NULL;
CREATE TABLE hints (
    kind INTEGER NOT NULL,
    value BLOB NOT NULL,
    torrent INTEGER NOT NULL REFERENCES torrents (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, value, torrent)
) WITHOUT ROWID;
CREATE INDEX hints_torrents ON hints (torrent);
";

/// Brings a database up to this version, whole or not at all.
pub(super) fn migrate(mut connection: Connection, path: &Path) -> Result<Connection, StateError> {
    let change = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(from_sqlite)?;
    let version: i64 =
        change.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(from_sqlite)?;
    if version > VERSION {
        return Err(StateError::Newer { path: path.to_path_buf(), version, known: VERSION });
    }
    if version == 0 {
        change.execute_batch(TABLES).map_err(from_sqlite)?;
    }
    for (since, tables) in [(2, ARRANGEMENTS), (3, TOTALS), (4, SHELVES)] {
        if version < since {
            change.execute_batch(tables).map_err(from_sqlite)?;
        }
    }
    if version < VERSION {
        change.pragma_update(None, "user_version", VERSION).map_err(from_sqlite)?;
    }
    change.commit().map_err(from_sqlite)?;
    Ok(connection)
}
