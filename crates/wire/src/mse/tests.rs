//! Both sides against each other, cut anywhere, and against who does not play by the rules.

use metainfo::InfoHash;
use proptest::prelude::*;

use super::dh::PrivateKey;
use super::*;
use crate::HANDSHAKE_LENGTH;

const TORRENT: InfoHash = InfoHash([0xaa; 20]);
const HELLO: [u8; HANDSHAKE_LENGTH] = [0x42; HANDSHAKE_LENGTH];

/// A generator with nothing to it: the same bytes for the same seed.
fn random(mut seed: u64) -> impl FnMut() -> u8 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    }
}

fn ours(mark: &[u8; 20]) -> Option<InfoHash> {
    (*mark == torrent_mark(&TORRENT)).then_some(TORRENT)
}

/// Lets both talk until they agree. `cut` says how many bytes arrive at a time.
fn talk(
    mut a: Initiator,
    mut b: Responder,
    mut cut: impl FnMut() -> usize,
) -> Result<(Agreed, Agreed), MseError> {
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    while a.need() > 0 || b.need() > 0 {
        to_b.append(&mut a.take_output());
        let part = cut().min(to_b.len());
        let taken = b.receive(&to_b[..part], ours)?;
        to_b.drain(..taken);
        to_a.append(&mut b.take_output());
        let part = cut().min(to_a.len());
        let taken = a.receive(&to_a[..part])?;
        to_a.drain(..taken);
    }
    assert!(to_a.is_empty() && to_b.is_empty(), "bytes of the handshake were left");
    Ok((a.finish().unwrap(), b.finish().unwrap()))
}

fn pair(offer: Methods, allowed: Methods, seed: u64) -> (Initiator, Responder) {
    let a = Initiator::new(TORRENT, offer, HELLO, random(seed));
    (a, Responder::new(allowed, random(!seed)))
}

/// What one side says, the other side hears.
fn hears(said: &mut Agreed, heard: &mut Agreed) {
    let mut bytes = *b"the payload";
    if let Some(ciphers) = &mut said.ciphers {
        ciphers.send.apply(&mut bytes);
        assert_ne!(bytes, *b"the payload");
    }
    if let Some(ciphers) = &mut heard.ciphers {
        ciphers.receive.apply(&mut bytes);
    }
    assert_eq!(bytes, *b"the payload");
}

#[test]
fn plaintext_is_chosen_whenever_both_allow_it() {
    use Methods as M;
    let plain = Method::Plaintext;
    for (offer, allowed, method) in [
        (M::BOTH, M::BOTH, plain),
        (M::BOTH, M::PLAINTEXT, plain),
        (M::PLAINTEXT, M::BOTH, plain),
        (M::BOTH, M::RC4, Method::Rc4),
        (M::RC4, M::BOTH, Method::Rc4),
        (M::RC4, M::RC4, Method::Rc4),
    ] {
        let (a, b) = pair(offer, allowed, 7);
        let (mut a, mut b) = talk(a, b, || usize::MAX).unwrap();
        assert_eq!((a.method(), b.method()), (method, method));
        assert_eq!((a.info_hash, b.info_hash), (TORRENT, TORRENT));
        assert_eq!((&a.initial[..], &b.initial[..]), (&[][..], &HELLO[..]));
        hears(&mut a, &mut b);
        hears(&mut b, &mut a);
    }
}

#[test]
fn who_has_no_way_in_common_is_told_so() {
    let (a, b) = pair(Methods::RC4, Methods::PLAINTEXT, 7);
    assert_eq!(talk(a, b, || usize::MAX).unwrap_err(), MseError::NothingInCommon(2));
}

#[test]
fn who_means_another_torrent_is_told_so() {
    let a = Initiator::new(InfoHash([1; 20]), Methods::BOTH, HELLO, random(1));
    let b = Responder::new(Methods::BOTH, random(2));
    assert_eq!(talk(a, b, || usize::MAX).unwrap_err(), MseError::UnknownTorrent);
}

#[test]
fn another_protocol_is_found_out_within_the_bounds() {
    let noise = |length| std::iter::repeat_with(random(3)).take(length).collect::<Vec<_>>();
    let mut b = Responder::new(Methods::BOTH, random(2));
    let most = KEY_LENGTH + PAD_MAX + 20;
    assert_eq!(b.receive(&noise(most - 1), ours), Ok(most - 1));
    assert_eq!(b.receive(&noise(most)[most - 1..], ours), Err(MseError::NoMark));
    let mut a = Initiator::new(TORRENT, Methods::BOTH, HELLO, random(1));
    let most = KEY_LENGTH + PAD_MAX + 8;
    assert_eq!(a.receive(&noise(most - 1)), Ok(most - 1));
    assert_eq!(a.receive(&noise(most)[most - 1..]), Err(MseError::NoMark));
}

#[test]
fn weak_keys_end_it_at_once() {
    let mut b = Responder::new(Methods::BOTH, random(2));
    assert_eq!(b.receive(&[0; KEY_LENGTH], ours), Err(MseError::WeakKey));
    assert!(b.take_output().is_empty());
    let mut a = Initiator::new(TORRENT, Methods::BOTH, HELLO, random(1));
    let before = a.take_output();
    assert!(before.len() >= KEY_LENGTH);
    assert_eq!(a.receive(&[255; KEY_LENGTH]), Err(MseError::WeakKey));
    assert!(a.take_output().is_empty());
}

/// A responder that has got the key of a scripted initiator, and the streams to talk to it with.
fn met_responder() -> (Responder, Ciphers) {
    let mut b = Responder::new(Methods::BOTH, random(2));
    let private = PrivateKey::generate(random(5));
    b.receive(&private.public(), ours).unwrap();
    let secret = private.agree(b.take_output().first_chunk().unwrap()).unwrap();
    let mut said = keys::first_mark(&secret).to_vec();
    said.extend(keys::hide(torrent_mark(&TORRENT), &secret));
    b.receive(&said, ours).unwrap();
    (b, keys::ciphers(&secret, &TORRENT))
}

/// What the responder makes of a verification, an offer and a length of padding.
fn offered(verification: u8, offer: u32, padding: u16) -> Result<usize, MseError> {
    let (mut b, mut ciphers) = met_responder();
    let mut said = vec![verification; 8];
    said.extend(offer.to_be_bytes());
    said.extend(padding.to_be_bytes());
    ciphers.send.apply(&mut said);
    b.receive(&said, ours)
}

#[test]
fn a_responder_checks_what_it_is_told() {
    assert_eq!(offered(0, 3, 512), Ok(14));
    assert_eq!(offered(0, 0xffff_ffff, 0), Ok(14), "unknown ways don't matter");
    assert_eq!(offered(1, 3, 0), Err(MseError::Verification));
    assert_eq!(offered(0, 0, 0), Err(MseError::NothingInCommon(0)));
    assert_eq!(offered(0, 4, 0), Err(MseError::NothingInCommon(4)));
    assert_eq!(offered(0, 3, 513), Err(MseError::Padding(513)));
}

/// What an initiator that offered `offer` makes of a choice and a length of padding.
fn chosen(offer: Methods, choice: u32, padding: u16) -> Result<usize, MseError> {
    let mut a = Initiator::new(TORRENT, offer, HELLO, random(1));
    let public = *a.take_output().first_chunk().unwrap();
    let private = PrivateKey::generate(random(5));
    a.receive(&private.public()).unwrap();
    let mut ciphers = keys::ciphers(&private.agree(&public).unwrap(), &TORRENT);
    let mut said = VERIFICATION.to_vec();
    said.extend(choice.to_be_bytes());
    said.extend(padding.to_be_bytes());
    ciphers.receive.apply(&mut said);
    a.receive(&said)
}

#[test]
fn an_initiator_takes_one_way_that_it_offered() {
    for (offer, choice) in [(Methods::BOTH, 1), (Methods::BOTH, 2), (Methods::RC4, 2)] {
        assert_eq!(chosen(offer, choice, 0), Ok(14));
    }
    for (offer, choice) in
        [(Methods::BOTH, 0), (Methods::BOTH, 3), (Methods::BOTH, 4), (Methods::RC4, 1)]
    {
        assert_eq!(chosen(offer, choice, 0), Err(MseError::Choice(choice)));
    }
    assert_eq!(chosen(Methods::BOTH, 1, 512), Ok(14));
    assert_eq!(chosen(Methods::BOTH, 1, 513), Err(MseError::Padding(513)));
}

#[test]
fn what_was_sent_within_may_be_nothing_or_long() {
    for length in [0, 1, 68, 65_535] {
        let (mut b, mut ciphers) = met_responder();
        let mut said = [&[0; 8][..], &[0, 0, 0, 3, 0, 0]].concat();
        said.extend((length as u16).to_be_bytes());
        said.extend(vec![7; length]);
        ciphers.send.apply(&mut said);
        said.extend(b"payload");
        assert_eq!(b.receive(&said, ours), Ok(said.len() - 7));
        assert_eq!(b.finish().unwrap().initial, vec![7; length]);
    }
}

proptest! {
    #[test]
    fn any_cut_leads_to_the_same_end(
        seed: u64,
        cuts in proptest::collection::vec(1_usize..700, 1..20),
        rc4: bool,
    ) {
        let offer = if rc4 { Methods::RC4 } else { Methods::BOTH };
        let (a, b) = pair(offer, Methods::BOTH, seed);
        let mut cuts = cuts.into_iter().cycle();
        let (mut a, mut b) = talk(a, b, || cuts.next().unwrap()).unwrap();
        prop_assert_eq!(a.method() == Method::Rc4, rc4);
        prop_assert_eq!(&b.initial[..], &HELLO[..]);
        hears(&mut a, &mut b);
        hears(&mut b, &mut a);
    }

    /// Who reads no more than is needed never gets a byte of the payload.
    #[test]
    fn what_is_needed_is_never_too_much(seed: u64) {
        let (mut a, mut b) = pair(Methods::BOTH, Methods::BOTH, seed);
        let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
        while a.need() > 0 || b.need() > 0 {
            to_b.append(&mut a.take_output());
            let part = b.need().min(to_b.len());
            prop_assert_eq!(b.receive(&to_b[..part], ours), Ok(part));
            to_b.drain(..part);
            to_a.append(&mut b.take_output());
            if b.need() == 0 {
                to_a.extend(b"payload"); // sent at once, behind the handshake
            }
            let part = a.need().min(to_a.len());
            prop_assert_eq!(a.receive(&to_a[..part]), Ok(part));
            to_a.drain(..part);
        }
        prop_assert!(to_a.iter().copied().eq(b"payload".repeat(to_a.len() / 7)));
        prop_assert!(!to_a.is_empty() && to_b.is_empty());
    }

    #[test]
    fn any_bytes_end_in_an_error_or_in_more_need(seed: u64, bytes: Vec<u8>) {
        let (mut a, mut b) = pair(Methods::BOTH, Methods::BOTH, seed);
        prop_assert!(a.receive(&bytes).is_err() || a.need() > 0);
        prop_assert!(b.receive(&bytes, ours).is_err() || b.need() > 0);
        prop_assert!(a.finish().is_none() && b.finish().is_none());
    }
}
