//! The state between two runs: whatever bytes a database holds, it is opened or set aside, and what
//! it says of a torrent is believed only as far as it fits the torrent and its files.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use metainfo::{Hints, InfoHash, Torrent};
use rusqlite::types::Value;
use storage::resume::{self, Verdict};
use storage::{
    Arrangement, FileSeen, Observed, Progress, RecordKey, ResumeRecord, Save, Shelf, ShelfFile,
    Source, SqliteState, StateStore, Totals, Wanted,
};

/// Three files in ten pieces.
static TORRENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let files: String =
        ["a", "b", "c"].iter().map(|name| format!("d6:lengthi50000e4:pathl1:{name}ee")).collect();
    let pieces = "h".repeat(10 * 20);
    let rest = format!("4:name1:t12:piece lengthi16384e6:pieces200:{pieces}");
    format!("d4:infod5:filesl{files}e{rest}ee").into_bytes()
});
const BOOT: &str = "boot";
/// SQLite's page.
const PAGE: usize = 4096;

/// A database as this program leaves it.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let state = SqliteState::open(folder.path()).expect("a new database");
    let torrent = torrent();
    let pieces = torrent.info.geometry().piece_count();
    for number in 0..3 {
        let mut progress = Progress::new(pieces, 1_700_000_000);
        (0..pieces).filter(|piece| piece % 3 != number).for_each(|piece| {
            progress.written.insert(piece);
        });
        progress.durable.insert(0);
        progress.boot_id = BOOT.into();
        progress.root_device = Some(5);
        let seen = |length| Some(FileSeen { length, modified_ns: 1_700_000_000_000_000_000 });
        let files: BTreeMap<_, _> =
            (0..).zip(torrent.info.files()).map(|(at, file)| (at, seen(file.length))).collect();
        let save = Save {
            key: key(number as u8),
            progress: Some(progress),
            totals: Totals { uploaded: 7, downloaded: 8, active_ms: 9, seeding_ms: 3 },
            file_count: files.len(),
            files,
            torrent: Some(TORRENT.as_slice().into()),
            arrangement: Some(Arrangement { apart: [0].into(), ..Arrangement::default() }),
            shelf: Some(Arc::new(shelf(number as u8))),
        };
        state.save(&[save], true).expect("saved");
    }
    drop(state);
    fs::read(folder.path().join("state.sqlite")).expect("there")
});

fn torrent() -> Torrent {
    Torrent::parse(&TORRENT).expect("a good torrent")
}

fn key(number: u8) -> RecordKey {
    RecordKey { info_hash: InfoHash([number; 20]), root: Arc::from(Path::new("/downloads")) }
}

/// The second file, as whole.
fn shelf(number: u8) -> Shelf {
    let root = Some([number; 32]);
    let source = Source { path: "/downloads/t/b".into(), length: 50_000, root };
    let hints = Hints { similar: vec![key(1).info_hash], collections: vec!["both".into()] };
    Shelf { names: vec![key(number).info_hash], hints, files: vec![ShelfFile { file: 1, source }] }
}

/// What of these shelves leads to the file.
fn wanted() -> Wanted {
    let Shelf { names, hints, files } = shelf(1);
    let files = files.into_iter().map(|file| (file.source.length, file.source.root)).collect();
    Wanted { names, hints, files }
}

/// Takes numbers off the input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (now, rest) = self.0.split_at(N.min(self.0.len()));
        bytes[..now.len()].copy_from_slice(now);
        self.0 = rest;
        bytes
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    /// Anything that a column of a database can hold.
    fn value(&mut self) -> Value {
        match self.byte() % 8 {
            0 => Value::Null,
            1 => Value::Integer(i64::from_le_bytes(self.bytes())),
            2 | 3 => Value::Integer(i64::from(self.byte())),
            4 => Value::Text(String::from_utf8_lossy(&self.blob()).into_owned()),
            5 => Value::Real(f64::from_le_bytes(self.bytes())),
            _ => Value::Blob(self.blob()),
        }
    }

    fn blob(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (now, rest) = self.0.split_at(length);
        self.0 = rest;
        now.to_vec()
    }
}

const COLUMNS: [&str; 13] = [
    "written",
    "durable",
    "pieces",
    "file_count",
    "clean",
    "boot_id",
    "committed_ns",
    "root_device",
    "uploaded",
    "downloaded",
    "added_at",
    "completed_at",
    "torrent",
];

/// Bytes of the file that are others.
fn damaged(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = SOUND.clone();
    match input.byte() % 4 {
        0 => bytes.truncate(usize::from(u16::from_le_bytes(input.bytes())) % (bytes.len() + 1)),
        1 => {
            let page = usize::from(input.byte()) * PAGE % bytes.len();
            bytes[page..page + PAGE].fill(input.byte());
        }
        _ => {}
    }
    while !input.0.is_empty() && !bytes.is_empty() {
        let at = usize::from(u16::from_le_bytes(input.bytes())) % bytes.len();
        bytes[at] ^= input.byte();
    }
    bytes
}

/// A sound file with values that nobody wrote.
fn strange(path: &Path, input: &mut Input<'_>) {
    let database = rusqlite::Connection::open(path).expect("a sound database");
    while !input.0.is_empty() {
        let column = usize::from(input.byte());
        // One that a constraint refuses can't be met either.
        let _ = match COLUMNS.get(column % (COLUMNS.len() + 1)) {
            Some(name) => {
                database.execute(&format!("UPDATE torrents SET {name} = ?1"), [input.value()])
            }
            None => database.execute(
                "INSERT OR REPLACE INTO files VALUES (1, ?1, ?2, ?3)",
                [input.value(), input.value(), input.value()],
            ),
        };
    }
}

/// What a look at the files may find.
fn observed(torrent: &Torrent, how: u8) -> Observed {
    let files = torrent.info.files().iter().enumerate().map(|(at, file)| {
        let length = if how & 1 == 1 && at == 0 { file.length / 2 } else { file.length };
        let modified_ns = 1_700_000_000_000_000_000 + i64::from(how & 2);
        (how & 4 == 0 || at != 1).then_some(FileSeen { length, modified_ns })
    });
    Observed {
        root_device: (how & 8 == 0).then_some(u64::from(5 + (how >> 4))),
        files: files.collect(),
        apart: (0..2).filter(|at| how & (0x20 << at) != 0).collect(),
    }
}

fn believe(torrent: &Torrent, record: &ResumeRecord, how: u8, boot: &str) {
    let observed = observed(torrent, how);
    let Verdict::Run(plan) = resume::plan(&torrent.info, Some(record), &observed, boot) else {
        return;
    };
    let pieces = torrent.info.geometry().piece_count();
    assert_eq!((plan.trusted.len(), plan.recheck.len()), (pieces, pieces));
    let progress = &record.progress;
    let same_boot = *progress.boot_id == *boot;
    for piece in plan.trusted.iter() {
        assert!(!plan.recheck.has(piece));
        assert!(progress.written.has(piece), "nobody ever wrote it");
        assert!(progress.clean || same_boot || progress.durable.has(piece), "lost in a power cut");
    }
    for (at, (file, seen)) in torrent.info.files().iter().zip(&observed.files).enumerate() {
        let all = seen.is_some_and(|seen| seen.length >= file.length);
        let lost = torrent.info.pieces_of_file(at).last().filter(|_| !all && file.length > 0);
        assert!(lost.is_none_or(|piece| !plan.trusted.has(piece)), "its end is not there");
    }
    let begun = resume::begin(Some(record.clone()), &plan.trusted, &plan.trusted, observed, 0);
    assert!(begun.progress.durable.iter().all(|piece| begun.progress.written.has(piece)));
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let (mode, how) = (input.byte(), input.byte());
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder");
    let path = folder.path().join("state.sqlite");
    if mode & 1 == 0 {
        fs::write(&path, damaged(&mut input)).expect("written");
    } else {
        fs::write(&path, &*SOUND).expect("written");
        strange(&path, &mut input);
    }
    // Refused with a reason, or as good as new: both are right.
    let Ok(state) = SqliteState::open(folder.path()) else { return };
    let torrent = torrent();
    let mut keys = state.keys().unwrap_or_default();
    keys.extend((0..3).map(key));
    for key in &keys {
        if let Ok(Some(record)) = state.load(key) {
            believe(&torrent, &record, how, if mode & 2 == 0 { BOOT } else { "another" });
        }
    }
    for found in state.sources(&wanted()).unwrap_or_default() {
        assert!(found.path.is_absolute() && found.length == 50_000, "{found:?}");
    }
    let save = Save {
        key: key(9),
        progress: Some(Progress::new(torrent.info.geometry().piece_count(), 1)),
        totals: Totals::default(),
        files: BTreeMap::new(),
        file_count: 0,
        torrent: None,
        arrangement: None,
        shelf: None,
    };
    if state.save(std::slice::from_ref(&save), false).is_err() {
        state.start_over().expect("set aside");
        state.save(&[save], false).expect("saved in a new one");
    }
    assert!(state.load(&key(9)).expect("read").is_some());
});
