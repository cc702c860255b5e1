//! Whom to dial, how soon again after a failure, and who is forgotten when there are too many.

use super::room::OF_ONE_ADDRESS_MAX;
use super::*;

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 6881))
}

fn next(candidates: &mut Candidates, now: u64) -> Option<SocketAddr> {
    candidates.next(Duration::from_secs(now), false, |_| false)
}

#[test]
fn each_address_is_dialled_once_at_a_time_with_longer_and_longer_waits() {
    let mut candidates = Candidates::new();
    candidates.add(Duration::ZERO, Source::Tracker, addr(1));
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..3 {
        assert_eq!(next(&mut candidates, now), Some(addr(1)));
        assert_eq!(next(&mut candidates, now), None);
        candidates.unreached(Duration::from_secs(now), addr(1), 0.0);
        let at = candidates.next_at(false, |_| false).unwrap().as_secs();
        waits.push(at - now);
        now = at;
    }
    assert_eq!(waits, [10, 20, 40]);
}

#[test]
fn hopeless_addresses_are_forgotten_but_not_a_persons() {
    let mut candidates = Candidates::new();
    candidates.add(Duration::ZERO, Source::Tracker, addr(1));
    candidates.add(Duration::ZERO, Source::User, addr(2));
    for round in 0..20 {
        let now = round * 10_000;
        while let Some(addr) = next(&mut candidates, now) {
            candidates.unreached(Duration::from_secs(now), addr, 1.0);
        }
    }
    assert_eq!(candidates.len(), 1);
    assert_eq!(candidates.dialling(), 0);
}

#[test]
fn who_must_wait_is_not_looked_at() {
    let mut candidates = Candidates::new();
    for number in 0..2000u32 {
        let [.., a, b] = number.to_be_bytes();
        let addr = SocketAddr::from(([10, 0, a, b], 1));
        candidates.add(Duration::ZERO, Source::Tracker, addr);
        candidates.unreached(Duration::ZERO, addr, 0.0);
    }
    let steps = steps::counted(|| {
        assert_eq!(next(&mut candidates, 9), None);
        assert_eq!(candidates.next_at(false, |_| false), Some(RETRY_FIRST));
    });
    assert!(steps <= 2, "{steps}");
}

#[test]
fn nonsense_is_refused_and_the_table_is_bounded() {
    let mut candidates = Candidates::new();
    for nonsense in ["0.0.0.0:1", "1.2.3.4:0", "255.255.255.255:9", "224.0.0.1:9", "[::]:1"] {
        candidates.add(Duration::ZERO, Source::User, nonsense.parse().unwrap());
    }
    assert_eq!(candidates.len(), 0);
    for number in 0..10_000u32 {
        let [.., a, b] = number.to_be_bytes();
        candidates.add(Duration::ZERO, Source::Tracker, SocketAddr::from(([10, 0, a, b], 1)));
    }
    assert_eq!(candidates.len() as usize, CANDIDATES_MAX);
    let fresh = addr(77);
    candidates.add(Duration::ZERO, Source::User, fresh);
    assert!(!candidates.known.contains_key(&fresh), "nobody is worse");
    let failing = next(&mut candidates, 0).unwrap();
    candidates.unreached(Duration::ZERO, failing, 0.0);
    candidates.add(Duration::ZERO, Source::Tracker, fresh);
    assert!(candidates.known.contains_key(&fresh) && !candidates.known.contains_key(&failing));
    assert_eq!(candidates.len() as usize, CANDIDATES_MAX);
}

#[test]
fn hearsay_leaves_room_for_what_trackers_say() {
    let mut candidates = Candidates::new();
    let numbered = |number: u32| {
        let [.., a, b] = number.to_be_bytes();
        SocketAddr::from(([10, 0, a, b], 1))
    };
    for number in 0..5000 {
        candidates.add(Duration::ZERO, Source::PeerExchange, numbered(number));
    }
    assert_eq!(candidates.len() as usize, HEARSAY_MAX);
    candidates.add(Duration::ZERO, Source::Tracker, numbered(0)); // now it is more than that
    candidates.add(Duration::ZERO, Source::PeerExchange, numbered(6000));
    candidates.add(Duration::ZERO, Source::PeerExchange, numbered(6001));
    assert_eq!(candidates.len() as usize, HEARSAY_MAX + 1);
    for _ in 0..2 {
        let failing = next(&mut candidates, 0).unwrap(); // the tracker's, then another
        candidates.failed(Duration::ZERO, failing, 0.0);
    }
    candidates.add(Duration::ZERO, Source::PeerExchange, numbered(6002));
    assert!(candidates.known.contains_key(&numbered(6002)));
    assert_eq!(candidates.hearsay, HEARSAY_MAX);
    for number in 7000..9000 {
        candidates.add(Duration::ZERO, Source::Tracker, numbered(number));
    }
    assert_eq!(candidates.len() as usize, CANDIDATES_MAX);
}

#[test]
fn what_failed_without_a_network_is_forgiven() {
    let mut candidates = Candidates::new();
    candidates.add(Duration::ZERO, Source::Tracker, addr(1));
    let soon = Duration::from_secs(1);
    let next = |candidates: &mut Candidates, now| candidates.next(now, false, |_| false);
    for _ in 0..FAILURES_MAX {
        assert_eq!(next(&mut candidates, soon), Some(addr(1)));
        candidates.unreached(soon, addr(1), 1.0);
        assert_eq!(next(&mut candidates, soon), None);
        candidates.forgive(soon);
    }
    assert_eq!(next(&mut candidates, soon), Some(addr(1)), "it was not forgotten");
    candidates.forgive(soon);
    assert_eq!((candidates.dialling(), next(&mut candidates, soon)), (1, None), "once at a time");
}

#[test]
fn a_persons_choice_comes_first_and_ourselves_never_again() {
    let mut candidates = Candidates::new();
    candidates.add(Duration::ZERO, Source::Tracker, addr(1));
    candidates.add(Duration::ZERO, Source::User, addr(9));
    assert_eq!(next(&mut candidates, 0), Some(addr(9)));
    candidates.ourselves(addr(9));
    assert_eq!(next(&mut candidates, 0), Some(addr(1)));
    candidates.connected(addr(1));
    candidates.disconnected(Duration::ZERO, addr(1), LASTING, false, 0.0);
    assert_eq!(next(&mut candidates, 19), None, "not at once");
    assert_eq!(next(&mut candidates, 20), Some(addr(1)));
    assert_eq!(next(&mut candidates, 1_000_000), None, "never ourselves");
}

#[test]
fn a_thousand_lies_do_not_come_before_what_a_tracker_says() {
    let mut candidates = Candidates::new();
    for number in 0..HEARSAY_MAX as u32 {
        let [.., a, b] = number.to_be_bytes();
        let lie = SocketAddr::from(([1, 0, a, b], 1));
        candidates.add(Duration::ZERO, Source::PeerExchange, lie);
    }
    candidates.add(Duration::ZERO, Source::Tracker, addr(1));
    candidates.add(Duration::ZERO, Source::Dht, addr(2));
    let first = [0; 3].map(|now| next(&mut candidates, now).unwrap());
    assert_eq!(first[..2], [addr(1), addr(2)]);
    assert!(is_hearsay(candidates.known[&first[2]].source));
}

#[test]
fn nobody_has_us_knock_at_all_doors_of_a_house() {
    for source in [Source::PeerExchange, Source::Dht, Source::Tracker, Source::Incoming] {
        let mut candidates = Candidates::new();
        let doors = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        for mut door in ["192.0.2.1", "2001:db8::1", "192.168.1.1", "127.0.0.1"].map(doors) {
            for port in 1..=1000 {
                door.set_port(port);
                candidates.add(Duration::ZERO, source, door);
            }
        }
        let of = |ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            candidates.known.keys().filter(|addr| addr.ip() == ip).count()
        };
        assert_eq!(of("192.0.2.1"), OF_ONE_ADDRESS_MAX);
        assert_eq!(of("2001:db8::1"), OF_ONE_ADDRESS_MAX);
        assert!(of("192.168.1.1") > OF_ONE_ADDRESS_MAX, "a network of our own");
    }
    let mut candidates = Candidates::new();
    for port in 1..=100 {
        candidates.add(Duration::ZERO, Source::User, SocketAddr::from(([192, 0, 2, 1], port)));
    }
    assert_eq!(candidates.len(), 100, "a person may");
}

#[test]
fn invented_ports_of_an_address_make_room_for_the_true_one() {
    let door = |port| SocketAddr::from(([192, 0, 2, 1], port));
    for source in [Source::Tracker, Source::Dht, Source::Incoming] {
        let mut candidates = Candidates::new();
        (1..=8).for_each(|lie| candidates.add(Duration::ZERO, Source::PeerExchange, door(lie)));
        candidates.add(Duration::ZERO, Source::PeerExchange, door(9));
        assert!(!candidates.known.contains_key(&door(9)), "one more rumour");
        candidates.add(Duration::ZERO, source, door(6881));
        assert!(candidates.known.contains_key(&door(6881)), "{source:?}");
        assert_eq!((candidates.len(), candidates.hearsay), (8, 7));
        assert_eq!(next(&mut candidates, 0), Some(door(6881)));
    }
}

#[test]
fn ports_where_nobody_is_make_room_for_others_of_their_address() {
    let door = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let mut candidates = Candidates::new();
    (1..=8).for_each(|port| candidates.add(Duration::ZERO, Source::Tracker, door(port)));
    candidates.add(Duration::ZERO, Source::Tracker, door(9));
    assert!(!candidates.known.contains_key(&door(9)), "all of them may be true");
    let stale = next(&mut candidates, 0).unwrap();
    candidates.add(Duration::ZERO, Source::Tracker, door(9));
    assert!(!candidates.known.contains_key(&door(9)), "it is being dialled");
    candidates.unreached(Duration::ZERO, stale, 0.0);
    candidates.add(Duration::ZERO, Source::PeerExchange, door(9));
    assert!(candidates.known.contains_key(&stale), "not for a rumour");
    candidates.add(Duration::ZERO, Source::Tracker, door(9));
    assert!(candidates.known.contains_key(&door(9)) && !candidates.known.contains_key(&stale));
    assert_eq!(candidates.len(), 8);
}

#[test]
fn an_address_in_the_clothes_of_ipv6_is_itself() {
    let mut candidates = Candidates::new();
    candidates.add(Duration::ZERO, Source::Tracker, addr(1));
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:6881".parse().unwrap();
    candidates.add(Duration::ZERO, Source::Tracker, mapped);
    assert_eq!(candidates.len(), 1);
    assert_eq!(next(&mut candidates, 0), Some(addr(1)));
    for nonsense in ["[::ffff:0.0.0.0]:1", "[::ffff:224.0.0.1]:1", "[::ffff:255.255.255.255]:1"] {
        candidates.add(Duration::ZERO, Source::User, nonsense.parse().unwrap());
    }
    assert_eq!(candidates.len(), 1);
}
