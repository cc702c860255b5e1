//! One connected peer: what it has, what each side said, and what is under way.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use metainfo::PieceIndex;
use wire::{Bitfield, BlockRequest, PeerExtensions};

use crate::holepunch::Holepunch;
use crate::pex::Exchange;
use crate::rate::Rate;
use crate::superseed::Shown;
use crate::window::Window;
use crate::{Hello, PeerKey, Spent, steps};

/// Pieces a peer may suggest (BEP 6) before its suggestions are ignored.
const SUGGESTIONS_MAX: usize = 16;
/// Requests remembered after they were taken back, to recognise their blocks when they come late. A
/// wider window is remembered whole: it was earned by delivering.
const TAKEN_BACK_MAX: usize = 4096;
/// And so many of those that are older than this, when the peer need not answer them: a slow uplink
/// that many share has queues of many minutes.
const TAKEN_BACK_OLD_MAX: usize = 256;
const TAKEN_BACK_OLD: Duration = Duration::from_mins(2);

/// What a peer has.
#[derive(Debug, Clone)]
pub(crate) enum PeerPieces {
    All,
    Some(Bitfield),
}

/// A request to the peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outstanding {
    pub(crate) block: BlockRequest,
    pub(crate) sent_at: Duration,
}

pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) hello: Hello,
    pub(crate) pieces: PeerPieces,
    /// Missing pieces that the peer has.
    pub(crate) interesting: u32,
    pub(crate) am_choking: bool,
    pub(crate) am_interested: bool,
    pub(crate) is_choking: bool,
    pub(crate) is_interested: bool,
    pub(crate) upload_only: bool,
    pub(crate) extensions: PeerExtensions,
    pub(crate) client: Option<String>,
    pub(crate) window: Window,
    /// Oldest first.
    pub(crate) outstanding: VecDeque<Outstanding>,
    /// Requests that were taken back: others may be asked, but the block is still welcome.
    pub(crate) taken_back: VecDeque<Outstanding>,
    /// How many more were taken back, and are not remembered one by one: as many answers are no fault.
    forgotten: u32,
    pub(crate) live_bytes: u64,
    /// When the newest request that was answered had been sent: older ones were passed over.
    answered_up_to: Duration,
    pub(crate) working: Option<PieceIndex>,
    /// Pieces we may request while choked.
    pub(crate) allowed_in: Vec<PieceIndex>,
    /// Pieces it may request while choked.
    pub(crate) allowed_out: Vec<PieceIndex>,
    /// Blocks of them that are still given away: once round the set.
    pub(crate) allowed_blocks_left: u32,
    /// The body that is arriving is dropped.
    pub(crate) discarding: bool,
    /// What it was told of, when it is not told of everything (BEP 16).
    pub(crate) shown: Option<Box<Shown>>,
    /// Newest last.
    pub(crate) suggested: VecDeque<PieceIndex>,
    /// The picker's version at which it had nothing new for this peer.
    pub(crate) exhausted: Option<u64>,
    /// It withdrew a piece once: its pieces are listed from then on, so that coming and going
    /// pieces cost O(1).
    pub(crate) withdrew: bool,
    /// Rejections in a row, and until when they keep us from asking again.
    pub(crate) rejections: u32,
    pub(crate) patient_until: Duration,
    pub(crate) unrequested: u32,
    /// How often it took back or sat on what it was asked for, since it delivered last.
    pub(crate) let_down: u32,
    /// Where it accepts connections, if known.
    pub(crate) listens_at: Option<SocketAddr>,
    /// The port that it said it listens on last, and how often that was another.
    pub(crate) said_port: Option<u16>,
    pub(crate) ports_said: u8,
    pub(crate) exchange: Exchange,
    pub(crate) holepunch: Holepunch,
    /// Its connection is a uTP one.
    pub(crate) by_utp: bool,
    pub(crate) uploads: VecDeque<BlockRequest>,
    pub(crate) download: Rate,
    pub(crate) upload: Rate,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) connected_at: Duration,
    pub(crate) last_received: Duration,
    pub(crate) last_block: Duration,
    pub(crate) last_sent: Duration,
    /// When we choked or unchoked it last.
    pub(crate) choke_changed: Duration,
    pub(crate) end_game_at: Duration,
    /// When it looks for a late block of a reader again.
    pub(crate) copy_at: Duration,
    pub(crate) closing: bool,
    /// What its time goes to, and since when.
    pub(crate) spent: Spent,
    pub(crate) spent_since: Duration,
    /// Why it was asked for no more when there was room in its window.
    pub(crate) held_up: Option<Spent>,
    /// It said where its DHT node is; once is enough.
    pub(crate) named_node: bool,
    /// It is a web seed, and this would be the next piece of its run.
    pub(crate) web_seed: bool,
    pub(crate) next_of_run: Option<PieceIndex>,
    /// It said where it sees us; once is enough.
    pub(crate) saw_us: bool,
    /// It waits for `poll_action` to ask it for more.
    pub(crate) refill: bool,
    /// It is among those that wait for work.
    pub(crate) waits: bool,
    /// It told of several pieces at once, as a super-seed never does (BEP 16).
    pub(crate) told_many: bool,
    /// When it is looked at next.
    pub(crate) check_at: Duration,
}

impl Peer {
    pub(crate) fn new(now: Duration, key: PeerKey, hello: Hello, pieces: u32) -> Self {
        Self {
            key,
            hello,
            pieces: PeerPieces::Some(Bitfield::new(pieces)),
            interesting: 0,
            am_choking: true,
            am_interested: false,
            is_choking: true,
            is_interested: false,
            upload_only: false,
            extensions: PeerExtensions::default(),
            client: hello.peer_id.client_name(),
            window: Window::new(now),
            outstanding: VecDeque::new(),
            taken_back: VecDeque::new(),
            forgotten: 0,
            live_bytes: 0,
            answered_up_to: Duration::ZERO,
            working: None,
            allowed_in: Vec::new(),
            allowed_out: Vec::new(),
            allowed_blocks_left: 0,
            discarding: false,
            shown: None,
            suggested: VecDeque::new(),
            exhausted: None,
            withdrew: false,
            rejections: 0,
            patient_until: Duration::ZERO,
            unrequested: 0,
            let_down: 0,
            listens_at: hello.outgoing.then_some(hello.addr),
            said_port: None,
            ports_said: 0,
            exchange: Exchange::default(),
            holepunch: Holepunch::default(),
            by_utp: false,
            uploads: VecDeque::new(),
            download: Rate::new(now),
            upload: Rate::new(now),
            downloaded: 0,
            uploaded: 0,
            connected_at: now,
            last_received: now,
            last_block: now,
            last_sent: now,
            choke_changed: now,
            end_game_at: Duration::ZERO,
            copy_at: Duration::ZERO,
            closing: false,
            spent: Spent::NothingNew,
            spent_since: now,
            held_up: None,
            named_node: false,
            web_seed: false,
            next_of_run: None,
            saw_us: false,
            refill: false,
            waits: false,
            told_many: false,
            check_at: Duration::MAX,
        }
    }

    /// Fast extension, agreed by both sides (we always offer it).
    pub(crate) fn is_fast(&self) -> bool {
        self.hello.reserved.fast()
    }

    /// Hashes may be asked of it (BEP 52).
    pub(crate) fn speaks_v2(&self) -> bool {
        self.hello.reserved.v2()
    }

    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        match &self.pieces {
            PeerPieces::All => true,
            PeerPieces::Some(set) => set.has(piece),
        }
    }

    /// It gives and wants nothing, and told of its pieces one by one (BEP 16).
    pub(crate) fn may_super_seed(&self) -> bool {
        self.downloaded > 0
            && !self.is_interested
            && !self.told_many
            && !self.is_seed()
            && !self.web_seed
    }

    /// The pieces, unless it has all.
    pub(crate) fn listed(&self) -> Option<&Bitfield> {
        match &self.pieces {
            PeerPieces::All => None,
            PeerPieces::Some(set) => Some(set),
        }
    }

    pub(crate) fn is_seed(&self) -> bool {
        match &self.pieces {
            PeerPieces::All => true,
            PeerPieces::Some(set) => set.is_full() && !set.is_empty(),
        }
    }

    pub(crate) fn count(&self, pieces: u32) -> u32 {
        match &self.pieces {
            PeerPieces::All => pieces,
            PeerPieces::Some(set) => set.count(),
        }
    }

    /// Whether a piece may be asked for now.
    pub(crate) fn may_request(&self, piece: PieceIndex) -> bool {
        self.has(piece) && (!self.is_choking || self.allowed_in.contains(&piece))
    }

    /// Whether anything may be asked for now.
    pub(crate) fn may_request_any(&self, now: Duration) -> bool {
        let open = !self.is_choking || !self.allowed_in.is_empty();
        open && self.am_interested && !self.closing && now >= self.patient_until
    }

    /// More would have been asked of it, but for a rate limit.
    pub(crate) fn is_limited(&mut self) {
        self.held_up = Some(Spent::Limited);
    }

    pub(crate) fn suggest(&mut self, piece: PieceIndex) {
        self.suggested.retain(|other| *other != piece);
        self.suggested.push_back(piece);
        if self.suggested.len() > SUGGESTIONS_MAX {
            self.suggested.pop_front();
        }
    }

    /// Requests that were not taken back.
    pub(crate) fn live_count(&self) -> u32 {
        self.outstanding.len() as u32
    }

    pub(crate) fn asked(&mut self, now: Duration, block: BlockRequest) {
        if self.outstanding.is_empty() {
            self.last_block = now; // the clock for a time-out starts with the work
        }
        self.live_bytes += u64::from(block.length);
        self.outstanding.push_back(Outstanding { block, sent_at: now });
    }

    /// The request for exactly this block, a live one first, and whether it is one. It is removed.
    pub(crate) fn answered(&mut self, block: BlockRequest) -> Option<(Outstanding, bool)> {
        if let Some(at) = position(&self.outstanding, block) {
            self.live_bytes -= u64::from(block.length);
            return Some((self.outstanding.remove(at)?, true));
        }
        let at = position(&self.taken_back, block)?;
        Some((self.taken_back.remove(at)?, false))
    }

    pub(crate) fn was_asked(&self, block: BlockRequest) -> bool {
        position(&self.outstanding, block).or_else(|| position(&self.taken_back, block)).is_some()
    }

    /// Takes back the live requests that `which` names; returns them.
    pub(crate) fn take_back(&mut self, which: impl Fn(&Outstanding) -> bool) -> Vec<BlockRequest> {
        let remembered = self.outstanding.len().max(TAKEN_BACK_MAX);
        let mut taken = Vec::new();
        self.outstanding.retain(|request| {
            steps::count();
            let goes = which(request);
            if goes {
                self.live_bytes -= u64::from(request.block.length);
                self.taken_back.push_back(*request);
                taken.push(request.block);
            }
            !goes
        });
        let excess = self.taken_back.len().saturating_sub(remembered);
        self.forget(excess);
        taken
    }

    /// Forgets which requests these were that were taken back first, but not that they were sent.
    fn forget(&mut self, count: usize) {
        let forgotten = self.taken_back.drain(..count).len() as u32;
        self.forgotten = self.forgotten.saturating_add(forgotten);
    }

    /// Whether an answer to no request that is remembered may be one to a forgotten one: each once.
    pub(crate) fn answers_forgotten(&mut self) -> bool {
        let left = self.forgotten.checked_sub(1);
        self.forgotten = left.unwrap_or_default();
        left.is_some()
    }

    /// It will not deliver what it was asked for.
    pub(crate) fn lets_down(&mut self) {
        self.let_down = self.let_down.saturating_add(1);
    }

    /// A block came for a request of that time.
    pub(crate) fn answers_up_to(&mut self, sent_at: Duration) {
        self.answered_up_to = self.answered_up_to.max(sent_at);
    }

    /// When the oldest live request times out: the peer stalls, or it went on without that one.
    pub(crate) fn times_out_at(&self) -> Option<Duration> {
        let oldest = self.outstanding.front()?;
        let since = if self.is_passed_over(oldest) { oldest.sent_at } else { self.last_block };
        Some(oldest.sent_at.max(since) + self.window.timeout())
    }

    /// Whether the peer answered a later request than this one.
    pub(crate) fn is_passed_over(&self, request: &Outstanding) -> bool {
        request.sent_at < self.answered_up_to
    }

    /// Takes back what the peer passed over long ago: it forgot about it.
    pub(crate) fn take_back_forgotten(&mut self, now: Duration) -> Vec<BlockRequest> {
        let (up_to, timeout) = (self.answered_up_to, self.window.timeout());
        self.take_back(|request| request.sent_at < up_to && request.sent_at + timeout <= now)
    }

    /// Forgets which requests were taken back long ago, but for the last ones: a peer without the fast
    /// extension answers none that it dropped. With it each has an answer, which is waited for.
    pub(crate) fn forget_old(&mut self, now: Duration) {
        if self.is_fast() {
            return;
        }
        let too_many = self.taken_back.len().saturating_sub(TAKEN_BACK_OLD_MAX);
        let old = |request: &&Outstanding| request.sent_at + TAKEN_BACK_OLD <= now;
        self.forget(self.taken_back.iter().take(too_many).take_while(old).count());
    }
}

/// Peers mostly answer in order: the one looked for is the first or close to it.
fn position(requests: &VecDeque<Outstanding>, block: BlockRequest) -> Option<usize> {
    requests.iter().position(|request| {
        steps::count();
        request.block == block
    })
}
