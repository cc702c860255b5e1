//! What others ask of us. Nobody gets more than his share, and no answer is more than ten times
//! its question, items apart: who forges a sender's address gains little by it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Contact, Family, may_tell, origin, put_addr, put_contact};
use crate::bloom;
use crate::dht::{Dht, InterfaceId};
use crate::id::Id;
use crate::krpc::{self, Ask, Fields, Message, Query, Refusal, code};
use crate::table::K;

/// Longest answer (BEP 32).
const REPLY_BYTES_MAX: usize = 1024;

/// Longest answer with an item in it: what fits any path's packet.
const ITEM_REPLY_BYTES_MAX: usize = 1280;

/// How much longer than its question an answer without an item may be.
const AMPLIFICATION_MAX: usize = 10;

/// Torrents told of at once (BEP 51).
const SAMPLES_MAX: usize = 20;

/// For so long the same ones are told.
const SAMPLE_INTERVAL: Duration = Duration::from_mins(5);

/// A query's circumstances.
#[derive(Clone, Copy)]
struct Asked<'a> {
    interface: InterfaceId,
    /// Our id over that socket.
    own: Id,
    from: SocketAddr,
    transaction: &'a [u8],
    /// Bytes of the query.
    length: usize,
}

impl Dht {
    pub(crate) fn answer(
        &mut self,
        now: Duration,
        interface: InterfaceId,
        from: SocketAddr,
        message: &Message<'_>,
        query: Result<&Query<'_>, &Refusal>,
        length: usize,
    ) {
        let Some(own) = self.own_id(interface) else { return };
        self.counters.queries_in = self.counters.queries_in.saturating_add(1);
        if self.settings.is_read_only || query.is_ok_and(|query| query.id == own) {
            return; // BEP 43; or our own echo
        }
        if !self.sources.may_ask(now, origin(from)) {
            self.counters.limited = self.counters.limited.saturating_add(1);
            return;
        }
        let transaction = message.transaction;
        let asked = Asked { interface, own, from, transaction, length };
        let reply = match query {
            Ok(query) => self.reply_to(now, asked, query),
            Err(refusal) => Err(*refusal),
        };
        let client = self.settings.client;
        let bytes = match reply {
            Ok(fields) => {
                let fields = fields.bytes(b"id", &own.0);
                krpc::write_reply(transaction, fields, from, client)
            }
            Err(refusal) => krpc::write_error(transaction, refusal, client),
        };
        let may = self.sources.may_get(now, origin(from), bytes.len())
            && self.answering.take(now, bytes.len() as f64);
        if may {
            self.send(interface, from, bytes);
        } else {
            self.counters.limited = self.counters.limited.saturating_add(1);
        }
        if let Ok(query) = query
            && !message.is_read_only
        {
            self.learn(now, interface, Self::contact(query.id, from));
        }
    }

    /// Who asks is there, if he is who he says: known ones are noted, others pinged.
    fn learn(&mut self, now: Duration, interface: InterfaceId, contact: Contact) {
        let is_bootstrap = self.is_bootstrap(contact.addr);
        let Some(node) = self.interfaces.get_mut(&interface) else { return };
        if !node.table.heard(now, &contact) && node.table.wants(&contact) && !is_bootstrap {
            self.meet(now, interface, contact.addr);
        }
    }

    fn reply_to(
        &mut self,
        now: Duration,
        asked: Asked<'_>,
        query: &Query<'_>,
    ) -> Result<Fields, Refusal> {
        let fields = Fields::default();
        let from = asked.from;
        match &query.ask {
            Ask::Ping => Ok(fields),
            Ask::FindNode { target } => Ok(self.with_nodes(fields, asked, *target, query.want)),
            Ask::GetPeers { info_hash, no_seeds, scrape } => {
                let want = if *scrape { None } else { query.want };
                let mut fields = self.with_nodes(fields, asked, *info_hash, want);
                if self.peers.has_room(*info_hash) {
                    fields = fields.bytes(b"token", &self.tokens.of(from.ip()));
                }
                Ok(self.with_peers(now, fields, asked, *info_hash, *no_seeds, *scrape))
            }
            Ask::AnnouncePeer { info_hash, port, is_seed, token } => {
                self.check_token(from, token)?;
                let peer = SocketAddr::new(from.ip(), port.unwrap_or(from.port()));
                if !self.peers.announce(now, asked.own, *info_hash, peer, *is_seed) {
                    return Err(Refusal::new(code::SERVER, "no room for more peers"));
                }
                Ok(fields)
            }
            Ask::Get { target, newer_than } => {
                Ok(self.with_item(now, asked, query.want, *target, *newer_than))
            }
            Ask::Put { token, value, signed } => {
                self.check_token(from, token)?;
                self.items.put(now, asked.own, value, *signed)?;
                Ok(fields)
            }
            Ask::Sample { target } => {
                let samples = self.samples(now);
                let fields = self.with_nodes(fields, asked, *target, query.want);
                let samples: Vec<u8> = samples.iter().flat_map(|id| id.0).collect();
                let (torrents, _) = self.peers.len();
                Ok(fields
                    .int(b"interval", SAMPLE_INTERVAL.as_secs().cast_signed())
                    .int(b"num", i64::try_from(torrents).unwrap_or(i64::MAX))
                    .bytes(b"samples", &samples))
            }
        }
    }

    fn check_token(&self, from: SocketAddr, token: &[u8]) -> Result<(), Refusal> {
        if self.tokens.is_good(from.ip(), token) {
            return Ok(());
        }
        Err(Refusal::new(code::PROTOCOL, "bad token"))
    }

    /// `nodes` and `nodes6`, as wanted, or those of the family asked over (BEP 32).
    fn with_nodes(
        &self,
        mut fields: Fields,
        asked: Asked<'_>,
        target: Id,
        want: Option<(bool, bool)>,
    ) -> Fields {
        let from = asked.from;
        let (v4, v6) = want.unwrap_or((from.is_ipv4(), !from.is_ipv4()));
        let wanted: [(bool, Family, &'static [u8]); 2] =
            [(v4, Family::V4, b"nodes"), (v6, Family::V6, b"nodes6")];
        for (_, family, key) in wanted.into_iter().filter(|(wanted, ..)| *wanted) {
            let over = self.interfaces.get(&asked.interface);
            let over = over.filter(|node| node.family() == family);
            let any = || self.interfaces.values().find(|node| node.family() == family);
            let Some(node) = over.or_else(any) else { continue };
            // Nobody needs to hear of himself, nor a stranger of our neighbours at home.
            let of_use = |c: &&Contact| c.addr != from && may_tell(from.ip(), c.addr);
            let closest = node.table.closest(target, K.saturating_mul(2));
            let mut nodes = Vec::new();
            closest.iter().filter(of_use).take(K).for_each(|c| put_contact(&mut nodes, c));
            fields = fields.bytes(key, &nodes);
        }
        fields
    }

    /// As many of a torrent's peers as there is room for, and filters of all of them (BEP 33).
    fn with_peers(
        &mut self,
        now: Duration,
        mut fields: Fields,
        asked: Asked<'_>,
        info_hash: Id,
        no_seeds: bool,
        scrape: bool,
    ) -> Fields {
        let most = asked.length.saturating_mul(AMPLIFICATION_MAX).min(REPLY_BYTES_MAX);
        let mut left = most.saturating_sub(self.length_of(&fields, asked));
        let filters_cost = bloom::BYTES.saturating_add(10).saturating_mul(2); // 4:BFsd256:…
        // Each peer is hashed for them, so only for who asks for it.
        if scrape
            && left >= filters_cost
            && let Some((seeds, peers)) = self.peers.blooms(now, info_hash)
        {
            fields = fields.bytes(b"BFsd", seeds.as_bytes()).bytes(b"BFpe", peers.as_bytes());
            left = left.saturating_sub(filters_cost);
        }
        let family = Family::of(asked.from);
        let left = left.saturating_sub(10); // 6:valuesl…e
        let count = if family == Family::V4 { left / 8 } else { left / 21 };
        let peers = self.peers.sample(now, info_hash, family, no_seeds, count, &mut self.rng);
        let compact = |addr: &SocketAddr| {
            let mut bytes = Vec::with_capacity(18);
            put_addr(&mut bytes, *addr);
            bytes
        };
        let values: Vec<Vec<u8>> = peers.iter().map(compact).collect();
        if values.is_empty() { fields } else { fields.list(b"values", &values) }
    }

    /// An item, and nodes where there is room for them: the item is what was asked for.
    fn with_item(
        &self,
        now: Duration,
        asked: Asked<'_>,
        want: Option<(bool, bool)>,
        target: Id,
        newer_than: Option<i64>,
    ) -> Fields {
        let fields = Fields::default().bytes(b"token", &self.tokens.of(asked.from.ip()));
        let Some(item) = self.items.get(now, target) else {
            return self.with_nodes(fields, asked, target, want);
        };
        let fields = match &item.signed {
            Some((_, _, seq)) if newer_than.is_some_and(|newest| *seq <= newest) => {
                return self.with_nodes(fields.int(b"seq", *seq), asked, target, want);
            }
            Some((key, signature, seq)) => {
                fields.bytes(b"k", key).bytes(b"sig", signature).int(b"seq", *seq)
            }
            None => fields,
        };
        let bare = fields.raw(b"v", &item.value);
        let fits = |fields: &Fields| self.length_of(fields, asked) <= ITEM_REPLY_BYTES_MAX;
        [want, None]
            .into_iter()
            .map(|want| self.with_nodes(bare.clone(), asked, target, want))
            .find(fits)
            .unwrap_or(bare)
    }

    /// Bytes of a reply with these fields.
    fn length_of(&self, fields: &Fields, asked: Asked<'_>) -> usize {
        let fields = fields.clone().bytes(b"id", &asked.own.0);
        krpc::write_reply(asked.transaction, fields, asked.from, self.settings.client).len()
    }

    /// The same random choice for a while: asking again soon brings nothing (BEP 51).
    fn samples(&mut self, now: Duration) -> Vec<Id> {
        let (torrents, _) = self.peers.len();
        let fresh = self.sampled.as_ref().filter(|(at, sample)| {
            now.saturating_sub(*at) < SAMPLE_INTERVAL && sample.len() >= torrents.min(SAMPLES_MAX)
        });
        if let Some((_, sample)) = fresh {
            return sample.clone();
        }
        let sample = self.peers.torrents(SAMPLES_MAX, &mut self.rng);
        self.sampled = Some((now, sample.clone()));
        sample
    }
}
