//! How fast messages are read and written, and what sets of pieces and encryption cost: `cargo bench -p
//! peerless-wire`, or `-- decode` for some of them.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use metainfo::InfoHash;
use wire::mse::{Ciphers, Initiator, Methods, Responder};
use wire::{
    Bitfield, BlockRequest, Decoded, HANDSHAKE_LENGTH, Limits, Message, decode, encode_block_head,
};

const MESSAGES: u32 = 1000;
const BLOCK: u32 = 16 * 1024;
const LIMITS: Limits = Limits { bitfield_bytes: 12_500, block_bytes: BLOCK, extended_bytes: 4096 };
const PIECES: [u32; 2] = [10_000, 100_000];

fn main() {
    divan::Divan::default().sample_count(100).config_with_args().main();
}

fn request(number: u32) -> BlockRequest {
    BlockRequest { piece: number / 16, begin: number % 16 * BLOCK, length: BLOCK }
}

/// Walks a stream of whole messages; returns how many there were.
fn walk(mut stream: &[u8]) -> u32 {
    let mut messages = 0;
    while let Ok(Decoded::Message { consumed, .. } | Decoded::BlockHead { consumed, .. }) =
        decode(black_box(stream), &LIMITS)
    {
        stream = &stream[consumed..];
        messages += 1;
    }
    messages
}

fn decoded(bencher: Bencher<'_, '_>, stream: &[u8]) {
    assert_eq!(walk(stream), MESSAGES);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| walk(stream));
}

#[divan::bench]
fn decode_have(bencher: Bencher<'_, '_>) {
    let mut stream = Vec::new();
    (0..MESSAGES).for_each(|piece| Message::Have(piece).encode(&mut stream));
    decoded(bencher, &stream);
}

#[divan::bench]
fn decode_request(bencher: Bencher<'_, '_>) {
    let mut stream = Vec::new();
    (0..MESSAGES).for_each(|number| Message::Request(request(number)).encode(&mut stream));
    decoded(bencher, &stream);
}

/// Heads alone: a body never passes through the decoder.
#[divan::bench]
fn decode_piece(bencher: Bencher<'_, '_>) {
    let heads: Vec<_> = (0..MESSAGES).map(|number| encode_block_head(request(number))).collect();
    decoded(bencher, heads.as_flattened());
}

#[divan::bench]
fn encode_request(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(MESSAGES as usize * 17);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        out.clear();
        (0..MESSAGES).for_each(|number| Message::Request(request(number)).encode(&mut out));
        black_box(&out);
    });
}

#[divan::bench]
fn encode_piece_head(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        for number in 0..MESSAGES {
            black_box(encode_block_head(black_box(request(number))));
        }
    });
}

fn every_other(pieces: u32) -> Bitfield {
    let mut set = Bitfield::new(pieces);
    (0..pieces).step_by(2).for_each(|piece| assert!(set.insert(piece)));
    set
}

#[divan::bench(args = PIECES)]
fn bitfield_from_wire(bencher: Bencher<'_, '_>, pieces: u32) {
    let bytes = every_other(pieces).to_wire();
    bencher.bench_local(|| Bitfield::from_wire(black_box(&bytes), pieces));
}

#[divan::bench(args = PIECES)]
fn bitfield_to_wire(bencher: Bencher<'_, '_>, pieces: u32) {
    let set = every_other(pieces);
    bencher.bench_local(|| black_box(&set).to_wire());
}

#[divan::bench(args = PIECES)]
fn bitfield_iter(bencher: Bencher<'_, '_>, pieces: u32) {
    let set = every_other(pieces);
    bencher
        .counter(ItemsCount::new(pieces / 2))
        .bench_local(|| black_box(&set).iter().sum::<u32>());
}

/// Each piece in, looked up, and out again.
#[divan::bench(args = PIECES)]
fn bitfield_insert_has_remove(bencher: Bencher<'_, '_>, pieces: u32) {
    let mut set = Bitfield::new(pieces);
    bencher.counter(ItemsCount::new(pieces)).bench_local(|| {
        (0..pieces).all(|piece| set.insert(piece) && set.has(black_box(piece)) && set.remove(piece))
    });
}

/// Both sides of MSE, and what they agree on.
fn shake_hands() -> Ciphers {
    let torrent = InfoHash([1; 20]);
    let mut peer = Initiator::new(torrent, Methods::RC4, [0; HANDSHAKE_LENGTH], || 1);
    let mut ours = Responder::new(Methods::BOTH, || 2);
    while peer.need() > 0 {
        ours.receive(&peer.take_output(), |_| Some(torrent)).unwrap();
        peer.receive(&ours.take_output()).unwrap();
    }
    ours.finish().unwrap().ciphers.unwrap()
}

/// Four powers, key derivation, four key streams: both sides together.
#[divan::bench]
fn encrypted_handshake(bencher: Bencher<'_, '_>) {
    bencher.bench_local(shake_hands);
}

#[divan::bench]
fn rc4_of_a_block(bencher: Bencher<'_, '_>) {
    let mut cipher = shake_hands().send;
    let mut block = vec![0; BLOCK as usize];
    bencher.counter(BytesCount::new(BLOCK)).bench_local(|| cipher.apply(black_box(&mut block)));
}
