//! The same bytes give the same messages and blocks, however they arrive and wherever they land.

use std::collections::VecDeque;

use fastrand::Rng;
use storage::Arena;
use wire::{Bitfield, encode_block_head};

use super::*;

const LIMITS: Limits =
    Limits { bitfield_bytes: 100, block_bytes: BLOCK_LENGTH, extended_bytes: 100_000 };

/// What a peer was asked for, and what came of it.
struct Books {
    arena: Arena,
    expected: VecDeque<BlockRequest>,
    /// Blocks with this `begin` are not kept.
    discarded: Option<u32>,
    heard: Vec<Heard>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Message(String),
    Block(BlockRequest, Option<Vec<u8>>),
}

impl Sink for Books {
    fn message(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        self.heard.push(Heard::Message(format!("{message:?}")));
        Ok(())
    }

    fn expected(&self) -> usize {
        self.expected.len()
    }

    fn memory(&self) -> Block {
        self.arena.take()
    }

    fn block_head(&mut self, block: BlockRequest) -> Result<BlockFate, Fault> {
        let discard = self.discarded == Some(block.begin);
        Ok(if discard { BlockFate::Discard } else { BlockFate::Keep })
    }

    fn block(&mut self, block: BlockRequest, data: Option<Block>) {
        self.expected.retain(|request| *request != block);
        let data = data.map(|data| data[..block.length as usize].to_vec());
        self.heard.push(Heard::Block(block, data));
    }
}

fn books(expected: impl IntoIterator<Item = BlockRequest>) -> Books {
    Books {
        arena: Arena::new(64),
        expected: expected.into_iter().collect(),
        discarded: None,
        heard: Vec::new(),
    }
}

fn request(index: u32) -> BlockRequest {
    BlockRequest { piece: index / 8, begin: index % 8 * BLOCK_LENGTH, length: BLOCK_LENGTH }
}

fn push_block(stream: &mut Vec<u8>, rng: &mut Rng, block: BlockRequest) -> Vec<u8> {
    let body: Vec<u8> = (0..block.length).map(|_| rng.u8(..)).collect();
    stream.extend(encode_block_head(block));
    stream.extend(&body);
    body
}

/// Feeds a stream in reads of at most `chunk()` bytes. Returns the bytes that landed in the last
/// slice of a read, which are the ones to be copied.
fn run(stream: &[u8], books: &mut Books, mut chunk: impl FnMut() -> usize) -> usize {
    let (mut landing, mut receiver) = (Landing::new(), Receiver::new(LIMITS));
    let (mut left, mut copied) = (stream, 0);
    while !left.is_empty() {
        let got = receiver.read(&mut landing, books, |slices| {
            let (now, rest) = left.split_at(chunk().clamp(1, left.len()));
            let room: usize = slices.iter().map(|slice| slice.len()).sum();
            let (mut now, rest) = if now.len() > room { left.split_at(room) } else { (now, rest) };
            let got = now.len();
            let last = slices.len() - 1;
            for (index, slice) in slices.iter_mut().enumerate() {
                let part = now.len().min(slice.len());
                slice[..part].copy_from_slice(&now[..part]);
                now = &now[part..];
                copied += if index == last { part } else { 0 };
            }
            left = rest;
            Ok(got)
        });
        assert!(got.unwrap() > 0);
    }
    assert!(receiver.carry.is_empty() && receiver.body.is_none(), "nothing is left over");
    copied
}

#[test]
fn any_stream_in_any_parts_is_understood() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let mut stream = Vec::new();
        let mut wanted = Vec::new();
        let mut asked: Vec<BlockRequest> = (0..24).map(request).collect();
        let mut books = books(asked.clone());
        books.discarded = rng.bool().then_some(3 * BLOCK_LENGTH);
        // The first answers are as asked; then some are late, missing, or not asked for at all.
        let order = rng.u32(..3);
        if order == 1 {
            asked.swap(5, 9);
            asked.remove(12);
        } else if order == 2 {
            rng.shuffle(&mut asked);
            asked.insert(4, BlockRequest { length: 777, ..request(100) });
        }
        for block in asked {
            if rng.u32(..4) == 0 {
                let bits = Bitfield::new(99).to_wire();
                let payload: Vec<u8> = (0..rng.usize(..60_000)).map(|_| rng.u8(..)).collect();
                let message = match rng.u32(..4) {
                    0 => Message::Have(rng.u32(..50)),
                    1 => Message::Bitfield(&bits),
                    2 => Message::KeepAlive,
                    _ => Message::Extended { id: 1, payload: &payload },
                };
                message.encode(&mut stream);
                wanted.push(Heard::Message(format!("{message:?}")));
            }
            let body = push_block(&mut stream, &mut rng, block);
            let kept = books.discarded != Some(block.begin);
            wanted.push(Heard::Block(block, kept.then_some(body)));
        }
        let most = *rng.choice(&[1, 14, 3_000, 40_000, 900_000]).unwrap();
        // Byte by byte is slow: only through the first blocks' worth of it.
        let mut reads = 0;
        run(&stream, &mut books, || {
            reads += 1;
            if reads > 40_000 { 1 << 20 } else { rng.usize(1..=most) }
        });
        assert_eq!(books.heard.len(), wanted.len(), "seed {seed}");
        assert!(books.heard == wanted, "seed {seed}");
    }
}

#[test]
fn answers_in_any_order_are_not_copied() {
    let mut rng = Rng::with_seed(1);
    let mut asked: Vec<BlockRequest> = (0..400).map(request).collect();
    rng.shuffle(&mut asked);
    let mut stream = Vec::new();
    for block in &asked {
        push_block(&mut stream, &mut rng, *block);
    }
    let mut books = books(asked);
    let copied = run(&stream, &mut books, || 200_000);
    assert_eq!(books.heard.len(), 400);
    // Of the first read all but the one block that is always foreseen.
    assert!(copied < 200_000, "{copied} of {} bytes", stream.len());
}

#[test]
fn a_discarded_body_that_looks_like_the_next_head_is_dropped_whole() {
    let mut books = books([request(0), request(1)]);
    books.discarded = Some(0);
    let mut stream = encode_block_head(request(0)).to_vec();
    let forged = encode_block_head(request(1));
    while stream.len() + forged.len() <= 13 + BLOCK_LENGTH as usize {
        stream.extend(forged);
    }
    stream.resize(13 + BLOCK_LENGTH as usize, 0);
    let real = push_block(&mut stream, &mut Rng::with_seed(2), request(1));
    run(&stream, &mut books, || 13);
    let wanted = [Heard::Block(request(0), None), Heard::Block(request(1), Some(real))];
    assert!(books.heard == wanted);
}

#[test]
fn a_mebibyte_that_is_there_takes_four_reads() {
    let mut rng = Rng::with_seed(3);
    let asked: Vec<BlockRequest> = (0..640).map(request).collect();
    let mut stream = Vec::new();
    for block in &asked {
        push_block(&mut stream, &mut rng, *block);
    }
    let (mut books, mut reads) = (books(asked), 0);
    run(&stream, &mut books, || {
        reads += 1;
        usize::MAX
    });
    assert_eq!(books.heard.len(), 640);
    assert!(reads <= 10 * 4 + 8, "{reads} for 10 MiB; the first few are short");
}

/// A message of nearly the allowed length is announced, and comes a byte at a time.
#[test]
fn a_length_alone_buys_no_memory() {
    let mut receiver = Receiver::new(LIMITS);
    let mut landing = Landing::new();
    let mut books = books([]);
    let length = LIMITS.extended_bytes.to_be_bytes();
    let stream = [&length[..], &[20], &vec![7; 99_999]].concat();
    let (mut at, mut room_max) = (0, 0);
    while books.heard.is_empty() {
        let read = |slices: &mut [IoSliceMut<'_>]| {
            let first = slices.iter_mut().find(|slice| !slice.is_empty()).expect("room to read");
            first[0] = stream[at];
            at += 1;
            Ok(1)
        };
        receiver.read(&mut landing, &mut books, read).unwrap();
        room_max = room_max.max(receiver.carry.capacity().saturating_sub(at));
    }
    assert_eq!(at, stream.len());
    // Vectors double.
    assert!(room_max <= 2 * CARRY_STEP + at / 2, "{room_max}");
}
