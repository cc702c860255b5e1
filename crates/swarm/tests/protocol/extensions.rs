//! Extended handshake, upload-only and don't-have (BEP 10, 21, 54).

use swarm::{Action, Fault, Hello, OwnPorts, PeerKey};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Extension, Message, Reserved};

use crate::script::{Script, addr, config, extended, fast, plain, whole};

fn offers(ids: &[(Extension, u8)]) -> ExtendedHandshake {
    let extensions = ids.iter().map(|(extension, id)| (extension.name().into(), *id)).collect();
    ExtendedHandshake { extensions, ..ExtendedHandshake::default() }
}

fn extended_sent(script: &mut Script) -> Vec<(u8, Vec<u8>)> {
    let extended = |action| match action {
        Action::SendExtended { id, payload, .. } => Some((id, payload)),
        _ => None,
    };
    script.actions().into_iter().filter_map(extended).collect()
}

#[test]
fn our_handshake_says_what_it_must() {
    let mut script = Script::leecher(8);
    script.joins(extended(7));
    let sent = extended_sent(&mut script);
    assert_eq!((sent.len(), sent[0].0), (1, 0));
    let ours = ExtendedHandshake::decode(&sent[0].1).unwrap();
    assert_eq!(ours.client.as_deref(), Some("peerless test"));
    assert_eq!(ours.yourip, Some(addr(7).ip()));
    assert_eq!((ours.reqq, ours.port), (Some(2000), Some(6881)));
    assert_eq!(ours.upload_only, None);
    let mut names = ours.extensions;
    names.sort();
    let expected = [
        ("lt_donthave", 2),
        ("upload_only", 1),
        ("ut_holepunch", 5),
        ("ut_metadata", 3),
        ("ut_pex", 4),
    ];
    assert_eq!(names, expected.map(|(name, id)| (name.to_string(), id)));

    let mut seed = Script::seed(8);
    seed.joins(extended(7));
    let ours = ExtendedHandshake::decode(&extended_sent(&mut seed)[0].1).unwrap();
    assert_eq!(ours.upload_only, Some(true));

    seed.joins(plain(8));
    assert_eq!(extended_sent(&mut seed), [], "not to who does not speak it");
}

#[test]
fn who_is_there_is_told_of_other_ports_too() {
    let mut settings = config(8, Bitfield::new(8));
    settings.settings.dht_ports = Some(6881.into());
    let mut script = Script::start(settings);
    let mut both = extended(1);
    both.reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 1]);
    let both = script.joins(both);
    let old = script.joins(plain(2));
    script.actions();
    script.swarm.set_listen_ports(6882.into());
    script.swarm.set_dht_ports(Some(6883.into()));
    let actions = script.actions();
    let [Action::SendExtended { peer, id: 0, payload }, Action::Send { peer: node, message }] =
        &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!((*peer, *node, message), (both, both, &Message::Port(6883)));
    let ours = ExtendedHandshake::decode(payload).unwrap();
    assert_eq!(ours.port, Some(6882));
    assert!(ours.extensions.len() >= 5, "what is missing would be taken as switched off");
    script.swarm.set_listen_ports(6882.into());
    script.swarm.set_dht_ports(Some(6883.into()));
    assert_eq!(script.actions(), [], "no news");
    assert_eq!(script.sent(old), []);
}

/// BEP 7: what a gateway made of our port over IPv4 leads nowhere over IPv6.
#[test]
fn each_is_told_the_port_of_its_family() {
    let mut settings = config(8, Bitfield::new(8));
    settings.settings.listen_ports = Some(OwnPorts { v4: 7000, v6: 6881 });
    settings.settings.dht_ports = Some(OwnPorts { v4: 7001, v6: 6881 });
    let mut script = Script::start(settings);
    let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 1]);
    let over_v4 = script.joins(Hello { reserved, ..extended(1) });
    let addr = "[2001:db8::2]:6881".parse().unwrap();
    let over_v6 = script.joins(Hello { reserved, addr, ..extended(2) });
    assert_eq!(told(&mut script), [(over_v4, 7000, Some(7001)), (over_v6, 6881, Some(6881))]);
    // Who hears the same again hears nothing.
    script.swarm.set_listen_ports(OwnPorts { v4: 7002, v6: 6881 });
    assert_eq!(told(&mut script), [(over_v4, 7002, None)]);
    script.swarm.set_dht_ports(Some(OwnPorts { v4: 7001, v6: 6882 }));
    assert_eq!(script.actions(), [Action::Send { peer: over_v6, message: Message::Port(6882) }]);
}

/// Which peer hears which ports, `p` and that of the DHT.
fn told(script: &mut Script) -> Vec<(PeerKey, u16, Option<u16>)> {
    let mut told: Vec<(PeerKey, u16, Option<u16>)> = Vec::new();
    for action in script.actions() {
        match action {
            Action::SendExtended { peer, id: 0, payload } => {
                let ours = ExtendedHandshake::decode(&payload).unwrap();
                told.push((peer, ours.port.unwrap(), None));
            }
            Action::Send { peer, message: Message::Port(port) } => {
                let of = told.iter_mut().find(|(other, ..)| *other == peer).unwrap();
                of.2 = Some(port);
            }
            _ => {}
        }
    }
    told
}

#[test]
fn a_handshake_that_is_garbage_is_no_fault() {
    let mut script = Script::leecher(8);
    let peer = script.joins(extended(1));
    for payload in [&b""[..], b"x", b"i1e", b"d1:mi5ee", &[b'l'; 5000]] {
        script.says(peer, &Message::Extended { id: 0, payload });
        script.says(peer, &Message::Extended { id: 1, payload });
        script.says(peer, &Message::Extended { id: 2, payload });
        script.says(peer, &Message::Extended { id: 200, payload });
    }
    assert_eq!(script.swarm.stats(script.now).peers, 1);
}

#[test]
fn seeds_drop_seeds_and_upload_only_peers_each_other() {
    let mut script = Script::seed(8);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveAll);
    assert_eq!(script.closes(peer), Some(Fault::BothUploadOnly));
    let peer = script.joins(extended(2));
    let partial = ExtendedHandshake { upload_only: Some(true), ..ExtendedHandshake::default() };
    script.handshake(peer, &partial);
    assert_eq!(script.closes(peer), Some(Fault::BothUploadOnly));
    let peer = script.joins(extended(3));
    script.says(peer, &Message::Extended { id: 1, payload: &[1] });
    assert_eq!(script.closes(peer), Some(Fault::BothUploadOnly));
    let peer = script.joins(extended(4));
    script.has(peer, &[1]);
    assert_eq!(script.closes(peer), None);
}

#[test]
fn completing_is_told_and_leaves_the_leechers() {
    let mut have = Bitfield::full(8);
    have.remove(5);
    let mut script = Script::start(config(8, have));
    let seed = script.source(extended(1), &[0, 1, 2, 3, 4, 5, 6, 7]);
    let leecher = script.joins(extended(2));
    script.handshake(leecher, &offers(&[(Extension::UploadOnly, 9)]));
    for block in script.requests(seed) {
        script.gives(seed, block);
    }
    script.written(5);
    let actions = script.actions();
    assert!(actions.contains(&Action::Complete));
    let told = Action::SendExtended { peer: leecher, id: 9, payload: vec![1] };
    assert!(actions.contains(&told), "{actions:?}");
    let dropped = Action::Disconnect { peer: seed, reason: Fault::BothUploadOnly };
    assert!(actions.contains(&dropped));
    let gone =
        |action: &Action| matches!(action, Action::Disconnect { peer, .. } if *peer == leecher);
    assert!(!actions.iter().any(gone));

    script.swarm.piece_lost(script.now, 5);
    let told = Action::SendExtended { peer: leecher, id: 9, payload: vec![0] };
    assert!(script.actions().contains(&told), "we download again");
}

#[test]
fn nothing_follows_a_disconnect() {
    let mut script = Script::seed(8);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveAll);
    script.closes(peer);
    script.swarm.piece_lost(script.now, 3);
    script.written(3);
    script.seconds_later(200);
    assert_eq!(script.sent(peer), []);
}

#[test]
fn a_lost_piece_is_withdrawn_by_who_understands_and_fetched_again() {
    let mut script = Script::seed(8);
    let modern = script.joins(extended(1));
    script.handshake(modern, &offers(&[(Extension::DontHave, 33)]));
    let old = script.joins(plain(2));
    script.actions();
    script.swarm.piece_lost(script.now, 6);
    let told = Action::SendExtended { peer: modern, id: 33, payload: vec![0, 0, 0, 6] };
    assert_eq!(script.actions(), [told]);
    assert!(!script.swarm.is_complete());
    script.says(old, &Message::Have(6));
    script.says(old, &Message::Unchoke);
    assert!(script.requests(old).iter().all(|block| block.piece == 6));
}

#[test]
fn a_peer_that_lost_a_piece_is_not_asked_for_it() {
    let mut script = Script::leecher(2);
    let hello = Hello { reserved: Reserved::ours(), ..plain(1) };
    let peer = script.source(hello, &[0, 1]);
    let asked = script.requests(peer);
    let lost = |piece: u32| piece.to_be_bytes();
    let payload = lost(asked[0].piece);
    script.says(peer, &Message::Extended { id: 2, payload: &payload });
    assert_eq!(script.swarm.stats(script.now).availability, 0);
    assert!(script.requests(peer).iter().all(|block| block.piece != asked[0].piece));
    script.says(peer, &Message::Extended { id: 2, payload: &lost(1 - asked[0].piece) });
    assert_eq!(script.sent(peer), [Message::NotInterested]);
    script.says(peer, &Message::Extended { id: 2, payload: &lost(u32::MAX) });
    script.says(peer, &Message::Extended { id: 2, payload: &lost(0) });
    script.says(peer, &Message::Have(asked[0].piece));
    let again: Vec<BlockRequest> = script.requests(peer);
    assert!(again.contains(&whole(asked[0].piece, 0)), "{again:?}");
}

#[test]
fn losing_and_finding_pieces_keeps_the_counts() {
    let mut script = Script::leecher(70);
    let peer = script.joins(extended(1));
    script.has_all(peer);
    for round in 0..500u32 {
        let piece = round % 70;
        script.says(peer, &Message::Extended { id: 2, payload: &piece.to_be_bytes() });
        let stats = script.swarm.stats(script.now);
        assert_eq!((stats.availability, stats.seeds), (0, 0));
        script.says(peer, &Message::Have(piece));
        let stats = script.swarm.stats(script.now);
        assert_eq!((stats.availability, stats.seeds), (1, 1));
    }
    script.leaves(peer);
    assert_eq!(script.swarm.stats(script.now).availability, 0);
}

#[test]
fn a_client_may_name_itself() {
    let mut script = Script::leecher(8);
    let peer = script.joins(extended(1));
    let client = Some("Some Client 1.0".to_string());
    let named = ExtendedHandshake { client: client.clone(), ..ExtendedHandshake::default() };
    script.handshake(peer, &named);
    assert_eq!(script.swarm.peers(script.now)[0].client, client);
}
