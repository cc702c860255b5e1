//! The index of files that torrents have, in tables of their own.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rusqlite::{Connection, Row, params};

use super::{read_key, to_integer};
use crate::record::RecordKey;
use crate::shelf::{SHELF_FILES_MAX, Shelf, Source, Wanted};

/// Kinds of `hints`: what a torrent is called, what it calls similar, what it belongs to.
const NAME: i64 = 0;
const SIMILAR: i64 = 1;
const COLLECTION: i64 = 2;

/// Torrents looked into for their hints, and files of one root: more is no better.
const TORRENTS_MAX: u32 = 64;
const OF_ONE_ROOT_MAX: u32 = 8;

/// Puts it in the place of what was there of the torrent, whose record must be there.
pub(super) fn put(change: &Connection, key: &RecordKey, shelf: &Shelf) -> rusqlite::Result<()> {
    let named = params![&key.info_hash.0[..], key.root.as_os_str().as_bytes()];
    let mut find =
        change.prepare_cached("SELECT id FROM torrents WHERE info_hash = ?1 AND root = ?2")?;
    let Some(id) = find.query_map(named, |row| row.get::<_, i64>(0))?.next().transpose()? else {
        return Ok(());
    };
    change.prepare_cached("DELETE FROM shelf WHERE torrent = ?1")?.execute([id])?;
    change.prepare_cached("DELETE FROM hints WHERE torrent = ?1")?.execute([id])?;
    let mut add = change.prepare_cached(
        "INSERT INTO shelf (torrent, file, length, root, path) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for file in shelf.files.iter().take(SHELF_FILES_MAX) {
        let (number, length) = (to_integer(file.file as u64), to_integer(file.source.length));
        let root = file.source.root.as_ref().map(|root| &root[..]);
        add.execute(params![id, number, length, root, file.source.path.as_os_str().as_bytes()])?;
    }
    let names = shelf.names.iter().map(|hash| (NAME, &hash.0[..]));
    let similar = shelf.hints.similar.iter().map(|hash| (SIMILAR, &hash.0[..]));
    let collections = shelf.hints.collections.iter().map(|name| (COLLECTION, name.as_bytes()));
    let mut add = change
        .prepare_cached("INSERT OR IGNORE INTO hints (kind, value, torrent) VALUES (?1, ?2, ?3)")?;
    for (kind, value) in names.chain(similar).chain(collections) {
        add.execute(params![kind, value, id])?;
    }
    Ok(())
}

/// Files that may be what is wanted: those of the same root, and those of the same length in torrents
/// that are hinted at, from either side.
pub(super) fn look(reader: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut by_root = reader.prepare_cached(
        "SELECT path, length, root FROM shelf WHERE root = ?1 AND length = ?2 LIMIT ?3",
    )?;
    for (length, root) in &wanted.files {
        let Some(root) = root else { continue };
        let asked = params![&root[..], to_integer(*length), OF_ONE_ROOT_MAX];
        for source in by_root.query_map(asked, read)? {
            found.push(source?);
        }
    }
    let lengths: HashSet<u64> = wanted.files.iter().map(|(length, _)| *length).collect();
    let mut files =
        reader.prepare_cached("SELECT path, length, root FROM shelf WHERE torrent = ?1")?;
    for id in hinted(reader, wanted)? {
        for source in files.query_map([id], read)? {
            found.extend(Some(source?).filter(|source| lengths.contains(&source.length)));
        }
    }
    found.retain(|source| source.path.is_absolute()); // a damaged database may say anything
    Ok(found)
}

/// Torrents without a file here, and whether their .torrent files are kept.
pub(super) fn without(reader: &Connection) -> rusqlite::Result<Vec<(RecordKey, bool)>> {
    let mut find = reader.prepare_cached(
        "SELECT info_hash, root, torrent IS NOT NULL FROM torrents
         WHERE NOT EXISTS (SELECT 1 FROM shelf WHERE shelf.torrent = torrents.id) ORDER BY id",
    )?;
    find.query_map([], |row| Ok((read_key(row)?, row.get(2)?)))?.collect()
}

fn hinted(reader: &Connection, wanted: &Wanted) -> rusqlite::Result<HashSet<i64>> {
    let named = wanted.hints.similar.iter().map(|hash| (NAME, &hash.0[..]));
    let naming = wanted.names.iter().map(|hash| (SIMILAR, &hash.0[..]));
    let together = wanted.hints.collections.iter().map(|name| (COLLECTION, name.as_bytes()));
    let mut find = reader.prepare_cached(
        "SELECT torrent FROM hints WHERE kind = ?1 AND value = ?2 ORDER BY torrent DESC LIMIT ?3",
    )?;
    let mut torrents = HashSet::new();
    for (kind, value) in named.chain(naming).chain(together) {
        if torrents.len() >= TORRENTS_MAX as usize {
            break;
        }
        for id in find.query_map(params![kind, value, TORRENTS_MAX], |row| row.get(0))? {
            torrents.insert(id?);
        }
    }
    Ok(torrents)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Source> {
    let path = PathBuf::from(OsString::from_vec(row.get(0)?));
    let length = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    Ok(Source { path, length, root: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use metainfo::{Hints, InfoHash};

    use super::*;
    use crate::record::{Progress, ResumeRecord};
    use crate::shelf::ShelfFile;
    use crate::sqlite::SqliteState;
    use crate::state::{Save, StateStore};
    use crate::totals::Totals;

    fn key(number: u8) -> RecordKey {
        RecordKey { info_hash: InfoHash([number; 20]), root: Path::new("/files").into() }
    }

    fn source(name: &str, length: u64, root: Option<u8>) -> Source {
        Source { path: name.into(), length, root: root.map(|byte| [byte; 32]) }
    }

    fn saved(state: &SqliteState, number: u8, is_there: bool, shelf: Option<Shelf>) {
        let save = Save {
            key: key(number),
            progress: is_there.then(|| Progress::new(1, 0)),
            totals: Totals::default(),
            files: [].into(),
            file_count: 1,
            torrent: None,
            arrangement: None,
            shelf: shelf.map(Into::into),
        };
        state.save(&[save], false).unwrap();
    }

    fn shelf(number: u8, hints: Hints, files: &[Source]) -> Shelf {
        let files = files.iter().cloned().enumerate();
        let files = files.map(|(file, source)| ShelfFile { file, source }).collect();
        Shelf { names: vec![InfoHash([number; 20])], hints, files }
    }

    fn names(state: &SqliteState, wanted: &Wanted) -> Vec<String> {
        let found = state.sources(wanted).unwrap();
        let mut names: Vec<_> = found.iter().map(|it| it.path.display().to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_found_by_root_and_by_hints_from_either_side() {
        let dir = tempfile::tempdir().unwrap();
        let state = SqliteState::open(dir.path()).unwrap();
        let none = Hints::default;
        let group = |name: &str| Hints { collections: vec![name.into()], ..none() };
        let naming = |number| Hints { similar: vec![InfoHash([number; 20])], ..none() };
        let put = |number, hints, files: &[Source]| {
            saved(&state, number, number < 10, Some(shelf(number, hints, files)));
        };
        saved(&state, 5, true, None);
        put(1, none(), &[source("/a", 5, Some(1)), source("/b", 9, Some(2))]);
        put(2, group("g"), &[source("/c", 9, None), source("/d", 7, None)]);
        put(3, naming(99), &[source("/e", 9, None)]);
        put(4, none(), &[source("/f", 9, None)]);
        put(77, none(), &[source("/z", 9, Some(2))]); // it has no record
        let wants = |hints, root: Option<u8>| Wanted {
            names: vec![InfoHash([99; 20])],
            hints,
            files: vec![(9, root.map(|byte| [byte; 32]))],
        };
        assert_eq!(
            names(&state, &wants(none(), Some(2))),
            ["/b", "/e"],
            "a root, and who names us"
        );
        assert_eq!(names(&state, &wants(none(), Some(1))), ["/e"], "its length is another");
        assert_eq!(names(&state, &wants(group("g"), None)), ["/c", "/e"]);
        assert_eq!(names(&state, &wants(group("h"), None)), ["/e"]);
        assert_eq!(names(&state, &wants(naming(4), None)), ["/e", "/f"]);
        let left: Vec<_> = state.unshelved().unwrap();
        assert_eq!(left, [(key(5), false)], "nothing was kept of it");
        // What is put again is instead, and goes with the torrent.
        put(3, none(), &[]);
        put(4, group("g"), &[source("/g", 9, None)]);
        assert_eq!(names(&state, &wants(group("g"), None)), ["/c", "/g"]);
        state.remove(&key(4)).unwrap();
        state.remove(&key(2)).unwrap();
        assert_eq!(names(&state, &wants(group("g"), None)), [""; 0]);
        let record: Option<ResumeRecord> = state.load(&key(1)).unwrap();
        assert!(record.is_some(), "the others stay");
    }
}
