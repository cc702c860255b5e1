//! The examples of BEP 5, and what real and hostile nodes send instead.

use super::*;

fn ask(datagram: &[u8]) -> Result<Ask<'_>, Refusal> {
    match read(datagram).expect("a message").body {
        Body::Query(query) => query.map(|query| query.ask),
        other => panic!("{other:?}"),
    }
}

fn reply_of(datagram: &[u8]) -> Box<Reply<'_>> {
    match read(datagram).expect("a message").body {
        Body::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

const ID: Id = Id(*b"abcdefghij0123456789");
const HASH: Id = Id(*b"mnopqrstuvwxyz123456");

/// Word for word from BEP 5.
#[test]
fn the_published_queries_are_read() {
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    assert!(matches!(ask(ping), Ok(Ask::Ping)));
    let find = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe";
    assert!(matches!(ask(find), Ok(Ask::FindNode { target: HASH })));
    let get = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe";
    let expected = Ask::GetPeers { info_hash: HASH, no_seeds: false, scrape: false };
    assert_eq!(format!("{:?}", ask(get).unwrap()), format!("{expected:?}"));
    let announce = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
    let Ok(Ask::AnnouncePeer { info_hash, port, is_seed, token }) = ask(announce) else { panic!() };
    assert_eq!((info_hash, port, is_seed, token), (HASH, None, false, &b"aoeusnth"[..]));
    let Body::Query(Ok(query)) = read(ping).unwrap().body else { panic!() };
    assert_eq!(query.id, ID);
}

#[test]
fn the_published_replies_and_errors_are_read() {
    let values = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re";
    let reply = reply_of(values);
    let peers: Vec<SocketAddr> = reply.values.clone();
    assert_eq!(
        peers,
        ["97.120.106.101:11893", "105.100.104.116:28269"].map(|a| a.parse().unwrap())
    );
    assert_eq!((reply.id, reply.token), (ID, Some(&b"aoeusnth"[..])));
    let error = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";
    let Body::Error { code, text } = read(error).unwrap().body else { panic!() };
    assert_eq!((code, text.as_str()), (201, "A Generic Error Ocurred"));
}

/// features.md 68 and 72.
#[test]
fn transaction_ids_are_bytes_of_any_length_and_records_have_their_family() {
    for length in [0, 1, 2, 20, 128] {
        let id = vec![0xff; length];
        let ping =
            write_query(&id, "ping", Fields::default().bytes(b"id", &ID.0), false, *b"PL\0\0");
        assert_eq!(read(&ping).unwrap().transaction, id);
    }
    let mut both = Fields::default().bytes(b"id", &ID.0).bytes(b"nodes", &[1; 26 * 2 + 5]);
    both = both.bytes(b"nodes6", &[0x26; 38]);
    both = both.list(b"values", &[&[1_u8; 6][..], &[0x26; 18], &[1; 7], b""]);
    let datagram = write_reply(b"x", both, "1.2.3.4:5".parse().unwrap(), *b"PL\0\0");
    let reply = reply_of(&datagram);
    let families: Vec<bool> = reply.contacts.iter().map(|c| c.addr.is_ipv4()).collect();
    assert_eq!(families, [true, true, false]);
    let families: Vec<bool> = reply.values.iter().map(SocketAddr::is_ipv4).collect();
    assert_eq!(families, [true, false], "values of other lengths are left");
    assert_eq!(read(&datagram).unwrap().seen_as, Some("1.2.3.4:5".parse().unwrap()));
}

/// features.md 70.
#[test]
fn an_announce_needs_a_port_that_is_one() {
    let announce = |port: Option<i64>, implied: i64| {
        let args = Fields::default().bytes(b"id", &ID.0).bytes(b"info_hash", &HASH.0);
        let args = args.bytes(b"token", b"t").int(b"implied_port", implied);
        let args = if let Some(port) = port { args.int(b"port", port) } else { args };
        let datagram = write_query(b"t", "announce_peer", args, false, *b"PL\0\0");
        match ask(&datagram) {
            Ok(Ask::AnnouncePeer { port, .. }) => Ok(port),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.code),
        }
    };
    assert_eq!(announce(Some(6881), 0), Ok(Some(6881)));
    assert_eq!(announce(Some(6881), 1), Ok(None), "the port it came from");
    assert_eq!(announce(None, 1), Ok(None));
    for bad in [Some(0), Some(-1), Some(65536), None] {
        assert_eq!(announce(bad, 0), Err(code::PROTOCOL), "{bad:?}");
    }
}

/// features.md 74.
#[test]
fn an_unknown_query_with_a_target_asks_for_nodes_and_one_without_is_refused() {
    let args = || Fields::default().bytes(b"id", &ID.0);
    let future = write_query(b"t", "vote", args().bytes(b"target", &HASH.0), false, *b"PL\0\0");
    assert!(matches!(ask(&future), Ok(Ask::FindNode { target: HASH })));
    let unknown = write_query(b"t", "vote", args(), false, *b"PL\0\0");
    assert_eq!(ask(&unknown).unwrap_err().code, code::UNKNOWN_METHOD);
    let nameless = b"d1:ade1:t1:t1:y1:qe";
    assert_eq!(ask(nameless).unwrap_err().code, code::PROTOCOL);
}

#[test]
fn real_clients_are_understood_and_junk_is_not() {
    let unsorted = b"d1:y1:r1:rd5:token1:x2:id20:abcdefghij0123456789e1:t1:ae\0\0";
    assert_eq!(reply_of(unsorted).token, Some(&b"x"[..]), "keys in any order, bytes behind");
    let ro = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t2:aa1:y1:qe";
    assert!(read(ro).unwrap().is_read_only);
    for junk in [
        &b""[..],
        b"d",
        b"le",
        b"de",
        b"d1:t1:a1:y1:xe",
        b"d1:ti1e1:y1:qe",
        b"d1:rd2:id19:abcdefghij012345678e1:t1:a1:y1:re",
        b"d1:rde1:t1:a1:y1:re",
        b"\x41\x00\x01\x02",
    ] {
        assert!(read(junk).is_none(), "{}", junk.escape_ascii());
    }
    let nested = [&b"d1:t1:a1:v"[..], &[b'l'; 1000], &[b'e'; 1000], b"1:y1:qe"].concat();
    assert!(read(&nested).is_none(), "deeper than any item");
    let long = [&b"d1:t1:a1:v2040:"[..], &[b'x'; 2040], b"1:y1:qe"].concat();
    assert!(read(&long).is_none(), "longer than any packet");
}

#[test]
fn what_we_write_is_canonical_and_read_again() {
    let args = Fields::default().bytes(b"target", &HASH.0).bytes(b"id", &ID.0);
    let query =
        write_query(b"ab", "find_node", args.list(b"want", &[b"n4", b"n6"]), true, *b"PL\0\x01");
    assert!(bencode::parse(&query, LIMITS).unwrap().is_canonical());
    let message = read(&query).unwrap();
    assert!(message.is_read_only);
    assert_eq!(message.client, Some(*b"PL\0\x01"));
    let Body::Query(Ok(query)) = message.body else { panic!() };
    assert_eq!(query.want, Some((true, true)));
    let refusal = Refusal::new(code::CAS_MISMATCH, "cas");
    let error = write_error(b"ab", refusal, *b"PL\0\x01");
    let Body::Error { code, .. } = read(&error).unwrap().body else { panic!() };
    assert_eq!(code, code::CAS_MISMATCH);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0_u8.., 0..300)) {
        let _ = read(&bytes);
        let mut message = b"d1:t1:a1:y1:q1:q4:ping1:a".to_vec();
        message.extend(&bytes);
        let _ = read(&message);
    }
}
