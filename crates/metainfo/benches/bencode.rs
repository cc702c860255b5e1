//! How fast .torrent files are read and written: `cargo bench -p peerless-metainfo`, or `-- parse`
//! for one of them.
//!
//! One file of 10,000 pieces is one long string; 5,000 files are many small values.

use std::fmt;

use divan::Bencher;
use divan::counter::BytesCount;
use metainfo::bencode::{self, Encoder, Limits, Node};
use metainfo::{CreateFile, CreateOptions, CreatePayload, Torrent};

const PIECE_LENGTH: u32 = 256 * 1024;

fn main() {
    divan::Divan::default().sample_count(50).config_with_args().main();
}

/// Bytes to a tape of tokens.
#[divan::bench(args = SHAPES)]
fn decode(bencher: Bencher<'_, '_>, shape: Shape) {
    let file = shape.file();
    bencher
        .counter(BytesCount::of_slice(&file))
        .bench_local(|| bencode::parse(&file, Limits::default()).map(|tape| tape.is_canonical()));
}

/// Values to bytes.
#[divan::bench(args = SHAPES)]
fn encode(bencher: Bencher<'_, '_>, shape: Shape) {
    let file = shape.file();
    let tape = bencode::parse(&file, Limits::default()).unwrap();
    bencher.counter(BytesCount::of_slice(&file)).bench_local(|| {
        let mut encoder = Encoder::new();
        write(&mut encoder, tape.root());
        encoder.finish()
    });
}

/// Bytes to a torrent: paths checked, info hash computed.
#[divan::bench(args = SHAPES)]
fn parse(bencher: Bencher<'_, '_>, shape: Shape) {
    let file = shape.file();
    bencher.counter(BytesCount::of_slice(&file)).bench_local(|| Torrent::parse(&file).unwrap());
}

fn write(encoder: &mut Encoder, node: Node<'_, '_>) {
    if let Some(entries) = node.dict() {
        encoder.begin_dict();
        for (key, value) in entries {
            encoder.key(key);
            write(encoder, value);
        }
        encoder.end();
    } else if let Some(items) = node.list() {
        encoder.begin_list();
        items.for_each(|item| write(encoder, item));
        encoder.end();
    } else if let Some(value) = node.as_int() {
        encoder.int(value);
    } else if let Some(content) = node.as_bytes() {
        encoder.bytes(content);
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Pieces(u32),
    Files(u32),
}

const SHAPES: [Shape; 2] = [Shape::Pieces(10_000), Shape::Files(5_000)];

impl Shape {
    fn file(self) -> Vec<u8> {
        let (payload, pieces) = match self {
            Self::Pieces(pieces) => {
                let length = u64::from(pieces) * u64::from(PIECE_LENGTH);
                (CreatePayload::File { length, executable: false }, pieces)
            }
            Self::Files(files) => {
                let file = |number| CreateFile {
                    path: vec![
                        format!("folder {:03}", number / 50).into_bytes(),
                        format!("a file with a name of usual length {number:05}.dat").into_bytes(),
                    ],
                    length: u64::from(PIECE_LENGTH),
                    ..CreateFile::default()
                };
                (CreatePayload::Folder((0..files).map(file).collect()), files)
            }
        };
        let hashes: Vec<[u8; 20]> = (0..pieces)
            .map(|piece| std::array::from_fn(|at| (piece.rotate_left(at as u32) ^ 0x5a) as u8))
            .collect();
        let options = CreateOptions {
            piece_length: Some(PIECE_LENGTH),
            trackers: vec![vec!["https://tracker.example/announce".into()]],
            ..CreateOptions::default()
        };
        metainfo::create(b"payload", &payload, hashes.as_flattened(), &options).unwrap()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pieces(pieces) => write!(f, "1 file, {pieces} pieces"),
            Self::Files(files) => write!(f, "{files} files"),
        }
    }
}
