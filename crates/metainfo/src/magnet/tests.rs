//! Magnet links (BEP 9, 53): ours, others', and what is none.

use proptest::prelude::*;

use super::*;
use crate::{CreateOptions, CreatePayload, Torrent, create};

const HEX: &str = "aabbccddeeff00112233445566778899aabbccdd";
const V2: &str = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";

fn parse(query: &str) -> Result<Magnet, MagnetError> {
    format!("magnet:?{query}").parse()
}

fn torrent() -> Torrent {
    let payload = CreatePayload::File { length: 5, executable: false };
    let options = CreateOptions {
        trackers: vec![vec!["http://t.example/a?k=1&l=2".into()], vec!["udp://u.example:9".into()]],
        ..CreateOptions::default()
    };
    Torrent::parse(&create("ein & zwei+drei".as_bytes(), &payload, &[0; 20], &options).unwrap())
        .unwrap()
}

#[test]
fn our_own_links_come_back() {
    let torrent = torrent();
    let magnet: Magnet = torrent.magnet().parse().unwrap();
    assert_eq!(magnet.hashes.v1(), Some(torrent.info_hash));
    assert_eq!(magnet.hashes.on_the_wire(), torrent.info_hash);
    assert_eq!(magnet.name.as_deref(), Some("ein & zwei+drei"));
    assert_eq!(magnet.trackers, ["http://t.example/a?k=1&l=2", "udp://u.example:9"]);
}

#[test]
fn a_torrent_comes_of_its_info_and_the_link() {
    let torrent = torrent();
    let magnet: Magnet = torrent.magnet().parse().unwrap();
    assert!(magnet.hashes.verify(&torrent.info_bytes));
    let again = Torrent::from_info(&torrent.info_bytes, &magnet).unwrap();
    assert_eq!(again.info, torrent.info);
    assert_eq!((again.info_hash, again.trackers), (torrent.info_hash, torrent.trackers));
    let mut other = torrent.info_bytes.to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert!(!magnet.hashes.verify(&other));
}

#[test]
fn hex_and_base32_name_the_same() {
    let hex = parse(&format!("xt=urn:btih:{HEX}")).unwrap();
    let base32 = parse("xt=urn:btih:VK54ZXPO74ABCIRTIRKWM54ITGVLXTG5").unwrap();
    assert_eq!(hex, base32);
    assert_eq!(parse("XT=URN:BTIH:vk54zxpo74abcirtirkwm54itgvlxtg5").unwrap(), hex);
    assert_eq!(parse("xt.1=urn%3Abtih%3A".to_owned().as_str()), Err(MagnetError::BadInfoHash));
    for bad in ["", "VK54", &"1".repeat(32), &"g".repeat(40), &HEX[1..]] {
        assert_eq!(parse(&format!("xt=urn:btih:{bad}")), Err(MagnetError::BadInfoHash), "{bad}");
    }
}

#[test]
fn a_v2_link_goes_by_its_truncated_hash() {
    let magnet = parse(&format!("xt=urn:btmh:1220{V2}")).unwrap();
    assert_eq!(magnet.hashes.on_the_wire().to_string(), V2[..40]);
    let both = parse(&format!("xt=urn:btmh:1220{V2}&xt=urn:btih:{HEX}")).unwrap();
    assert_eq!(both.hashes.on_the_wire().to_string(), HEX);
    assert_eq!(both.hashes.v2(), magnet.hashes.v2());
    for bad in ["", "1220", "1114aabb", &V2[..60]] {
        assert_eq!(parse(&format!("xt=urn:btmh:{bad}")), Err(MagnetError::BadMultihash), "{bad}");
    }
}

#[test]
fn a_v2_hash_is_verified_by_sha256() {
    let info = b"d4:name1:xe";
    let hash = InfoHashV2(Sha256::digest(info).into());
    let hashes = InfoHashes::new(None, Some(hash)).unwrap();
    assert!(hashes.verify(info));
    assert!(!hashes.verify(b"d4:name1:ye"));
    // Of a hybrid's two names both must fit.
    let v1 = InfoHash(Sha1::digest(b"d4:name1:ye").into());
    assert!(!InfoHashes::new(Some(v1), Some(hash)).unwrap().verify(info));
}

#[test]
fn hints_are_taken_and_bounded() {
    let magnet = parse(&format!(
        "xt=urn:btih:{HEX}&dn=a+b%2Bc&tr=http%3A%2F%2Fa&tr.2=udp://b&tr=&tr=udp://b&ws=http://w/\
         &x.pe=192.0.2.7:6881&x.pe=[2001:db8::1]:1&x.pe=h.example:2&x.pe=nonsense&x.pe=a:0&unknown=1&&="
    ))
    .unwrap();
    assert_eq!(magnet.name.as_deref(), Some("a b+c"));
    assert_eq!(magnet.trackers, ["http://a", "udp://b"]);
    assert_eq!(magnet.web_seeds, ["http://w/"]);
    let peers = [("192.0.2.7", 6881), ("2001:db8::1", 1), ("h.example", 2)];
    assert_eq!(magnet.peers, peers.map(|(host, port)| (host.to_string(), port)));
    let many: Vec<_> = (1..1000).map(|n| format!("&tr=udp://{n}&x.pe=h:{n}")).collect();
    let magnet = parse(&format!("xt=urn:btih:{HEX}{}", many.concat())).unwrap();
    assert_eq!((magnet.trackers.len(), magnet.peers.len()), (HINTS_MAX, HINTS_MAX));
}

/// BEP 53's own example, and what is none.
#[test]
fn files_are_chosen_by_number() {
    let so = |list: &str| parse(&format!("xt=urn:btih:{HEX}&so={list}")).map(|magnet| magnet.files);
    assert_eq!(so("0,2,4,6-8"), Ok(vec![0..=0, 2..=2, 4..=4, 6..=8]));
    for bad in ["", "a", "1-", "-1", "3-2", "1,,2", "4294967296"] {
        assert_eq!(so(bad), Err(MagnetError::BadSelection), "{bad}");
    }
}

#[test]
fn what_is_no_link_is_refused() {
    assert_eq!("http://x/".parse::<Magnet>(), Err(MagnetError::NotAMagnet));
    assert_eq!("magnet:".parse::<Magnet>(), Err(MagnetError::NotAMagnet));
    assert_eq!("magnet:?é".parse::<Magnet>(), Err(MagnetError::NoHash));
    assert_eq!(parse("dn=x&xt=urn:sha1:ABC"), Err(MagnetError::NoHash));
    let other = HEX.replace('a', "b");
    assert_eq!(
        parse(&format!("xt=urn:btih:{HEX}&xt=urn:btih:{other}")),
        Err(MagnetError::TwoTorrents)
    );
    assert_eq!(parse(&"a".repeat(LINK_BYTES_MAX)), Err(MagnetError::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_a_link_or_an_error(text in ".{0,200}") {
        let _ = format!("magnet:?xt=urn:btih:{HEX}&{text}").parse::<Magnet>();
        let _ = text.parse::<Magnet>();
    }
}
