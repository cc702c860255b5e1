//! The receive side of a connection: any stream gives the same messages and blocks, and ends the
//! same way, whether it comes in one part or in many and wherever its bodies were foreseen.
//!
//! The two files are built into this target: they need sockets as little as the brain does, and the
//! rest of the engine stays out of the build.
#![no_main]

#[path = "../../crates/engine/src/peer/landing.rs"]
mod landing;
#[path = "../../crates/engine/src/peer/receive.rs"]
#[rustfmt::skip] // its tests are not here
mod receive;

use std::cell::RefCell;
use std::io::IoSliceMut;

use landing::Landing;
use libfuzzer_sys::fuzz_target;
use metainfo::BLOCK_LENGTH;
use receive::{ReceiveError, Receiver, Sink};
use storage::{Arena, Block};
use swarm::{BlockFate, Fault};
use wire::{BlockRequest, Limits, Message};

const LIMITS: Limits =
    Limits { bitfield_bytes: 64, block_bytes: BLOCK_LENGTH, extended_bytes: 20_000 };
/// Blocks that a peer may owe here.
const OWED_MAX: usize = 15;

thread_local! {
    static LANDING: RefCell<Landing> = RefCell::new(Landing::new());
    static ARENA: Arena = Arena::new(256);
}

#[derive(Debug, PartialEq)]
enum Heard {
    Message(Vec<u8>),
    Block(BlockRequest, Option<Vec<u8>>),
}

struct Books {
    arena: Arena,
    owed: usize,
    heard: Vec<Heard>,
    /// Heads whose bodies did not end yet.
    begun: usize,
}

impl Sink for Books {
    fn message(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        assert_eq!(self.begun, 0, "a message inside of a body");
        if let Message::HaveNone = message {
            return Err(Fault::NotFast); // any fault: it ends the connection at this message
        }
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.heard.push(Heard::Message(bytes));
        Ok(())
    }

    fn expected(&self) -> usize {
        self.owed
    }

    fn memory(&self) -> Block {
        self.arena.take()
    }

    fn block_head(&mut self, block: BlockRequest) -> Result<BlockFate, Fault> {
        assert!(block.length <= LIMITS.block_bytes);
        self.begun += 1;
        assert_eq!(self.begun, 1, "one body at a time");
        match block.piece % 8 {
            6 => Ok(BlockFate::Discard),
            7 => Err(Fault::Unrequested),
            _ => Ok(BlockFate::Keep),
        }
    }

    fn block(&mut self, block: BlockRequest, data: Option<Block>) {
        self.begun -= 1;
        assert_eq!(data.is_none(), block.piece % 8 == 6);
        let data = data.map(|data| data[..block.length as usize].to_vec());
        self.owed = self.owed.saturating_sub(1);
        self.heard.push(Heard::Block(block, data));
    }
}

/// Goes through a stream in parts of these lengths, over and over. What was heard, and why it ended
/// before the stream did.
fn run(mut stream: &[u8], owed: usize, parts: &[usize]) -> (Vec<Heard>, Option<String>) {
    let mut books = Books { arena: ARENA.with(Arena::clone), owed, heard: Vec::new(), begun: 0 };
    let mut receiver = Receiver::new(LIMITS);
    let mut parts = parts.iter().cycle();
    while !stream.is_empty() {
        let part = parts.next().copied().unwrap_or(usize::MAX).clamp(1, stream.len());
        let read = |slices: &mut [IoSliceMut<'_>]| {
            let mut left = part;
            for slice in slices {
                let (now, rest) = stream.split_at(left.min(slice.len()));
                slice[..now.len()].copy_from_slice(now);
                (stream, left) = (rest, left - now.len());
            }
            assert!(left < part, "there is always room for something");
            Ok(part - left)
        };
        let got = LANDING.with_borrow_mut(|landing| receiver.read(landing, &mut books, read));
        match got {
            Ok(got) => assert!(got > 0),
            Err(ReceiveError::Io(_) | ReceiveError::Closed) => unreachable!("nobody closed it"),
            Err(error) => return (books.heard, Some(error.to_string())),
        }
    }
    (books.heard, None)
}

// First how many blocks are owed and how many lengths of parts there are, then these, two bytes
// each, then the stream. A stream that is more than bytes of its own has a `#` for each body of
// 16 KiB that is to be put in: mutations of a whole block would find little.
fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let count = usize::from(first >> 4).min(rest.len() / 2);
    let (lengths, stream) = rest.split_at(2 * count);
    let parts: Vec<usize> =
        lengths.chunks(2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]]))).collect();
    let owed = usize::from(first) & OWED_MAX;
    let mut whole = Vec::new();
    for byte in stream {
        if *byte == b'#' {
            let number = whole.len() as u8;
            whole.extend((0..BLOCK_LENGTH).map(|at| (at as u8).wrapping_mul(31) ^ number));
        } else {
            whole.push(*byte);
        }
        if whole.len() > 400_000 {
            break;
        }
    }
    let at_once = run(&whole, 0, &[]);
    assert_eq!(run(&whole, owed, &parts), at_once);
});
