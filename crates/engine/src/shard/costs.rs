//! What a mebibyte costs a shard: allocations and system calls, counted. A torrent at rest costs it
//! no call, and little memory (`costs/rest.rs`).
//!
//! The engine itself runs here, over a real socket and real files, but in turns with a scripted
//! peer and on the test's own thread. Time moves with the turns alone. So the counts are the same on
//! any machine, however busy.

use std::collections::VecDeque;
use std::fs;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use allocation_counter::{measure, opt_out};
use metainfo::{BLOCK_LENGTH, CreateOptions, Torrent as Metainfo};
use socket2::{Domain, Socket, Type};
use storage::{FileStore, StoreOptions};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use wire::mse::{Ciphers, Initiator, Methods, Responder};
use wire::{Bitfield, BlockRequest, HANDSHAKE_LENGTH};

use super::*;
use crate::Session;
use crate::limits::Bounds;
use crate::net::Held;
use crate::peer::calls::{Call, Calls};

/// Blocks of a piece of 1 MiB.
const PIECE_BLOCKS: u32 = 64;
const PIECE_BYTES: usize = (PIECE_BLOCKS * BLOCK_LENGTH) as usize;
/// Blocks that a session's smallest budget holds.
const BUDGET_BLOCKS: usize = 1024;
/// Buffers of the sockets, as large as systems commonly allow: what is sent in a turn fits.
const SOCKET_BYTES: usize = 208 * 1024;
/// How long a turn takes by the engine's clock.
const TURN: Duration = Duration::from_millis(1);
/// Only a hang takes so long.
const DEADLINE: Duration = Duration::from_mins(1);

/// A shard with one torrent and one peer.
struct Rig {
    local: LocalSet,
    peer: Peer,
    /// The engine's end of the connection, to look at what has arrived.
    ours: TcpStream,
    pieces: Vec<u8>,
    context: Rc<ShardContext>,
    torrent: Rc<Torrent>,
    runtime: Runtime,
    session: Session,
    _folder: TempDir,
}

/// A shard without torrents, on this thread, and how messages come to it.
fn shard(session: &Session) -> (Shard, mpsc::UnboundedReceiver<ShardMessage>) {
    let inner = &session.inner.shared;
    // However far behind the pool is, no block is allocated: all that there may be are there.
    let arena = Arena::new(2 * BUDGET_BLOCKS);
    drop((0..BUDGET_BLOCKS + 100).map(|_| arena.take()).collect::<Vec<_>>());
    let (sender, receiver) = mpsc::unbounded_channel();
    (Shard::new(Arc::clone(inner), arena, inner.pools.clone(), sender), receiver)
}

/// What a shard is given of a torrent. All of its pieces are there, or none.
fn entering(
    session: &Session,
    torrent: Metainfo,
    root: &Path,
    is_seed: bool,
) -> (Arc<TorrentShared>, swarm::Config) {
    let inner = &session.inner.shared;
    let count = torrent.info.geometry().piece_count();
    let (info, handles) = (Arc::clone(&torrent.info), Arc::clone(&inner.handles));
    let store = FileStore::open(root, info, handles, StoreOptions::default()).unwrap();
    let have = if is_seed { Bitfield::full(count) } else { Bitfield::new(count) };
    let shared = Arc::new(TorrentShared::new(torrent, store, Bounds::default(), false, true));
    shared.begin(&have, 0, None);
    let config = inner.swarm_config(&shared, have, None);
    (shared, config)
}

impl Rig {
    /// The torrent consists of `count` copies of one piece. All of them are there, or none.
    fn new(count: u32, is_seed: bool, is_encrypted: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut piece = vec![0; PIECE_BYTES];
        fastrand::Rng::with_seed(1).fill(&mut piece);
        let torrent = torrent(&folder.path().join("seed"), &piece.repeat(count as usize));
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let session = Session::builder().listen(false).memory_budget(0);
        let session = runtime.block_on(session.start()).unwrap();
        let inner = &session.inner.shared;
        assert_eq!(inner.settings.budget_blocks(), BUDGET_BLOCKS);

        let root = folder.path().join(if is_seed { "seed" } else { "out" });
        let info_hash = torrent.info_hash;
        let (shared, config) = entering(&session, torrent, &root, is_seed);
        let (mut shard, receiver) = shard(&session);
        let context = Rc::clone(&shard.context);
        let (peer, mut theirs, addr) = sockets();
        let (ours, theirs_too) = if is_encrypted { ciphers(info_hash) } else { (None, None) };
        let mut peer =
            Peer { stream: peer, ciphers: None, heard: Vec::new(), asked: VecDeque::new(), got: 0 };
        peer.say(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0");
        peer.say(&info_hash.0);
        peer.ciphers = theirs_too;
        peer.say(b"-XX0001-scripted-one");
        let mut first = [0; ROUTING_BYTES];
        theirs.read_exact(&mut first).unwrap();
        theirs.set_nonblocking(true).unwrap();
        peer.stream.set_nonblocking(true).unwrap();
        let line = Line::agreed(Detached::Tcp(Held::unlisted(theirs.try_clone().unwrap())), ours);
        let ours = theirs;
        let stranger = inner.listening.rooms().enter();
        let local = LocalSet::new();
        let torrent = {
            let (_runtime, _local) = (runtime.enter(), local.enter());
            shard.begin(shared, config, None, None, None);
            let torrent = Rc::clone(&shard.torrents[&info_hash]);
            assert_eq!(torrent.is_resting(), is_seed, "a seed has nothing to do yet");
            shard.handle(ShardMessage::Incoming { info_hash, line, addr, first, stranger });
            local.spawn_local(shard.run(receiver));
            torrent
        };
        let pieces = piece;
        Self { local, peer, ours, pieces, context, torrent, runtime, session, _folder: folder }
    }

    /// Lets the engine run until the peer has heard what `done` looks for.
    fn runs_until(&mut self, mut done: impl FnMut(&Peer) -> bool) {
        let (peer, piece, start) = (&mut self.peer, &self.pieces, Instant::now());
        self.runtime.block_on(self.local.run_until(async {
            loop {
                opt_out(|| peer.hear(piece));
                if done(peer) {
                    break;
                }
                assert!(start.elapsed() < DEADLINE, "nothing happens");
                others_run().await;
            }
        }));
    }

    /// The peer speaks, and all of it is there before the engine goes on.
    fn peer_says(&mut self, bytes: &[u8]) {
        opt_out(|| {
            self.peer.say(bytes);
            let (mut seen, start) = (vec![0; bytes.len()], Instant::now());
            while self.ours.peek(&mut seen).unwrap_or(0) < bytes.len() {
                assert!(start.elapsed() < DEADLINE, "the socket holds no {} bytes", bytes.len());
                thread::yield_now();
            }
        });
    }

    fn time_passes(&self) {
        opt_out(|| self.runtime.block_on(tokio::time::advance(TURN)));
    }

    /// The peer sends so many blocks, of those it was asked for.
    fn is_sent(&mut self, blocks: usize) {
        self.runs_until(|peer| peer.asked.len() >= blocks);
        let mut bytes = Vec::new();
        opt_out(|| {
            for block in self.peer.asked.drain(..blocks) {
                bytes.extend(wire::encode_block_head(block));
                bytes.extend(&self.pieces[block.begin as usize..][..block.length as usize]);
            }
        });
        self.peer_says(&bytes);
        opt_out(|| drop(bytes));
        let before = Calls::now();
        self.runs_until(|_| {
            let calls = Calls::now() - before;
            calls.of(Call::ReceiveAll) + calls.of(Call::ReceiveInVain) > 0
        });
        self.time_passes();
    }

    /// The peer asks for neighbouring blocks and gets them.
    fn is_asked(&mut self, turn: u32, blocks: u32) {
        let mut bytes = Vec::new();
        opt_out(|| {
            for number in turn * blocks..(turn + 1) * blocks {
                let (piece, begin) = (number / PIECE_BLOCKS, number % PIECE_BLOCKS * BLOCK_LENGTH);
                let block = BlockRequest { piece, begin, length: BLOCK_LENGTH };
                wire::Message::Request(block).encode(&mut bytes);
            }
        });
        self.peer_says(&bytes);
        opt_out(|| drop(bytes));
        let wanted = self.peer.got + blocks;
        self.runs_until(|peer| peer.got == wanted);
        self.time_passes();
    }
}

/// Gives way to the engine's tasks. What the runtime allocates for it is not the engine's.
async fn others_run() {
    let mut given = pin!(tokio::task::yield_now());
    let look = |context: &mut Context<'_>| {
        let mut polled = Poll::Pending;
        opt_out(|| polled = given.as_mut().poll(context));
        polled
    };
    poll_fn(look).await;
}

fn torrent(folder: &Path, data: &[u8]) -> Metainfo {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join("file");
    fs::write(&path, data).unwrap();
    let piece_length = Some(PIECE_BYTES as u32);
    let options = CreateOptions { piece_length, ..CreateOptions::default() };
    let bytes = crate::create(&path, &options, |_| {}, &false.into()).unwrap();
    Metainfo::parse(&bytes).unwrap()
}

/// What both sides encrypt with when one insists on RC4: ours, the peer's.
fn ciphers(info_hash: InfoHash) -> (Option<Ciphers>, Option<Ciphers>) {
    let mut peer = Initiator::new(info_hash, Methods::RC4, [0; HANDSHAKE_LENGTH], || 1);
    let mut ours = Responder::new(Methods::BOTH, || 2);
    while peer.need() > 0 {
        ours.receive(&peer.take_output(), |_| Some(info_hash)).unwrap();
        peer.receive(&ours.take_output()).unwrap();
    }
    (ours.finish().unwrap().ciphers, peer.finish().unwrap().ciphers)
}

/// A connection on loopback: the peer's end, ours, and where the peer is.
fn sockets() -> (TcpStream, TcpStream, SocketAddr) {
    let socket = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
        socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
        socket
    };
    let (listener, peer) = (socket(), socket());
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(1).unwrap();
    peer.connect(&listener.local_addr().unwrap()).unwrap();
    let (ours, addr) = listener.accept().unwrap();
    ours.set_tcp_nodelay(true).unwrap();
    peer.set_tcp_nodelay(true).unwrap();
    (peer.into(), ours.into(), addr.as_socket().unwrap())
}

struct Peer {
    stream: TcpStream,
    ciphers: Option<Ciphers>,
    /// The front of a message.
    heard: Vec<u8>,
    /// What the engine asked for.
    asked: VecDeque<BlockRequest>,
    /// Good blocks that the engine sent.
    got: u32,
}

impl Peer {
    fn say(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.send.apply(&mut bytes);
        }
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes what has arrived, the handshake apart.
    fn hear(&mut self, piece: &[u8]) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(got) = self.stream.read(&mut bytes) {
            assert!(got > 0, "the engine closed the connection");
            if let Some(ciphers) = &mut self.ciphers {
                ciphers.receive.apply(&mut bytes[..got]);
            }
            self.heard.extend(&bytes[..got]);
        }
        let mut rest = self.heard.strip_prefix(b"\x13BitTorrent protocol").map_or(
            &self.heard[..],
            |handshake| handshake.get(48..).unwrap_or_default(), // which comes in one piece
        );
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).map_or(0, |word| u32::from_be_bytes(word.try_into().unwrap()))
        };
        while let Some(body) = rest.get(4..4 + word(rest, 0) as usize).filter(|_| rest.len() >= 4) {
            rest = &rest[4 + body.len()..];
            let (first, begin) = (word(body, 1), word(body, 5));
            match body.first() {
                Some(6) => {
                    let length = word(body, 9);
                    self.asked.push_back(BlockRequest { piece: first, begin, length });
                }
                Some(7) => {
                    assert_eq!(body[9..], piece[begin as usize..][..body.len() - 9]);
                    self.got += 1;
                }
                _ => {}
            }
        }
        let left = rest.len();
        self.heard.drain(..self.heard.len() - left);
    }
}

#[test]
fn a_block_received_allocates_nothing_and_shares_its_system_calls() {
    receives(false);
}

#[test]
fn nor_does_one_that_is_decrypted() {
    receives(true);
}

fn receives(is_encrypted: bool) {
    const BLOCKS: u32 = 8;
    const TURNS: u32 = 200;
    let mut rig = Rig::new(48, false, is_encrypted);
    let mut offer = vec![0, 0, 0, 7, 5];
    offer.extend([0xff; 6]);
    offer.extend([0, 0, 0, 1, 1]); // unchoke
    rig.peer_says(&offer);
    // Windows and tables grow to their size.
    (0..64).for_each(|_| rig.is_sent(4));
    (0..120).for_each(|_| rig.is_sent(BLOCKS as usize));

    let before = Calls::now();
    let allocated = measure(|| (0..TURNS).for_each(|_| rig.is_sent(BLOCKS as usize))).count_total;
    let calls = Calls::now() - before;
    let pieces = u64::from(TURNS * BLOCKS / PIECE_BLOCKS);
    println!("{allocated} allocations and {calls:?} for {pieces} pieces in {TURNS} turns");
    // A piece has 64 blocks. It takes a table of them, nodes of trees and a job for the pool.
    assert!(allocated <= 6 * pieces, "{allocated} for {pieces} pieces");
    // One read takes the 128 KiB that are there and sees that this was all: 8 for a MiB. A write asks
    // for many blocks; the budget's room and a piece that is written make others.
    let most = u64::from(TURNS) + pieces * 3;
    assert!(calls.all() <= most, "{calls:?} for {TURNS} turns");
}

#[test]
fn a_block_sent_allocates_nothing_and_shares_its_system_calls() {
    sends(false);
}

#[test]
fn nor_does_one_that_is_encrypted() {
    sends(true);
}

fn sends(is_encrypted: bool) {
    const BLOCKS: u32 = 16;
    const TURNS: u32 = 100;
    let mut rig = Rig::new(48, true, is_encrypted);
    rig.peer_says(&[0, 0, 0, 1, 2]); // interested
    (0..50).for_each(|turn| rig.is_asked(turn, BLOCKS));

    let before = Calls::now();
    let allocated =
        measure(|| (50..50 + TURNS).for_each(|turn| rig.is_asked(turn, BLOCKS))).count_total;
    let calls = Calls::now() - before;
    println!("{allocated} allocations and {calls:?} for {TURNS} turns");
    // Where the file system can't read without waiting, a job for the disk threads is allocated.
    let jobs = calls.of(Call::ReadDisk);
    assert!(allocated <= 8 + 2 * jobs, "{allocated} for {} blocks", TURNS * BLOCKS);
    // One read takes the requests, one reads the file and one write sends it, if the socket has
    // room for all of it: 12 for a MiB, or 16.
    assert!(calls.all() <= u64::from(TURNS) * 4, "{calls:?} for {TURNS} turns");
    assert!(calls.of(Call::ReadCached) + jobs <= u64::from(TURNS), "{calls:?}");
}

mod rest;
