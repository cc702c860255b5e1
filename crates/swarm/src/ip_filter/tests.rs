//! Each kind of list, its bad lines and its bounds; the set against a naive one.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn filter(text: &str) -> (IpFilter, ListReport) {
    let mut builder = IpFilterBuilder::default();
    for line in text.lines() {
        builder.line(line.as_bytes()).unwrap();
    }
    let report = builder.end_of_list().unwrap();
    (builder.build().unwrap(), report)
}

fn contains(filter: &IpFilter, ip: &str) -> bool {
    filter.contains(ip.parse().unwrap())
}

#[test]
fn networks_ranges_and_single_addresses() {
    let (filter, report) = filter(
        "# comment\n\n10.1.0.0/16\n192.0.2.7\n198.51.100.3 - 198.51.100.5 ; SBL1\n2001:db8::/32\n\
         2001:db9::1-2001:db9::f # why\n203.0.113.9/32\n",
    );
    assert_eq!((report.ranges, report.bad, filter.len()), (6, 0, 6));
    for ip in [
        "10.1.0.0",
        "10.1.255.255",
        "192.0.2.7",
        "198.51.100.3",
        "198.51.100.5",
        "203.0.113.9",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::8",
        "::ffff:10.1.2.3",
    ] {
        assert!(contains(&filter, ip), "{ip}");
    }
    for ip in [
        "10.0.255.255",
        "10.2.0.0",
        "192.0.2.6",
        "192.0.2.8",
        "198.51.100.2",
        "198.51.100.6",
        "203.0.113.8",
        "2001:db7::",
        "2001:db9::",
        "2001:db9::10",
        "::10.1.2.3",
        "0.0.0.0",
    ] {
        assert!(!contains(&filter, ip), "{ip}");
    }
}

#[test]
fn everything_and_nothing() {
    let (all, _) = filter("0.0.0.0/0\n::/0\n0.0.0.0 - 255.255.255.255\n");
    for ip in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        assert!(contains(&all, ip), "{ip}");
    }
    assert_eq!(all.len(), 2);
    let (none, report) = filter("# nothing yet\n");
    assert!(none.is_empty() && !contains(&none, "1.2.3.4") && report == ListReport::default());
}

#[test]
fn peer_guardian_names_have_colons() {
    let (filter, report) = filter(
        "Some: body, Inc. #1:1.2.3.4-1.2.3.9\nplain:5.6.7.8-5.6.7.8\nsix:2001:db8::1-2001:db8::9\n\
         :9.9.9.9-9.9.9.9\n",
    );
    assert_eq!((report.ranges, report.bad), (4, 0), "{report:?}");
    for ip in ["1.2.3.4", "1.2.3.9", "5.6.7.8", "2001:db8::1", "2001:db8::9", "9.9.9.9"] {
        assert!(contains(&filter, ip), "{ip}");
    }
    assert!(!contains(&filter, "1.2.3.10") && !contains(&filter, "db8::5"));
}

#[test]
fn emule_levels_and_leading_zeros() {
    let (filter, report) = filter(
        "001.002.003.004 - 001.002.003.255 , 000 , name, with comma\n\
         010.000.000.000 - 010.000.000.009 , 127 , just so\n\
         020.000.000.000 - 020.000.000.009 , 128 , trusted\n\
         030.000.000.000 - 030.000.000.009 , high , nonsense\n",
    );
    assert_eq!((report.ranges, report.allowed, report.bad), (2, 1, 1));
    assert_eq!(report.first_bad, [(4, BadLine::Level)]);
    // Zeros in front don't make a number octal.
    assert!(contains(&filter, "1.2.3.4") && contains(&filter, "10.0.0.9"));
    assert!(!contains(&filter, "8.0.0.1") && !contains(&filter, "20.0.0.1"));
}

#[test]
fn bad_lines_are_counted_and_the_first_are_named() {
    let (filter, report) = filter(
        "hello\n1.2.3.9-1.2.3.4\n1.2.3.4-::9\n1.2.3.4/33\n::/129\n1.2.3.4/x\n1.2.3\n1.2.3.256\n\
         1.2.3.4.5\n+1.2.3.4\n6.6.6.6\n",
    );
    assert_eq!((report.ranges, report.bad), (1, 10));
    let first = [
        (1, BadLine::NoRange),
        (2, BadLine::Reversed),
        (3, BadLine::Mixed),
        (4, BadLine::Prefix),
        (5, BadLine::Prefix),
    ];
    assert_eq!(report.first_bad, first);
    assert_eq!(filter.len(), 1);
}

#[test]
fn what_is_no_list_is_refused_and_lines_are_bounded() {
    let mut builder = IpFilterBuilder::default();
    for line in ["<html>", "<p>Not found", "1.2.3.4-"] {
        builder.line(line.as_bytes()).unwrap();
    }
    let refused = ListError::NotAList { line: 1, reason: BadLine::NoRange };
    assert_eq!(builder.end_of_list(), Err(refused));
    assert_eq!(builder.line(b"\xff\xff\xff\xffP2B\x02"), Err(ListError::Binary));

    let mut builder = IpFilterBuilder::default();
    builder.line(b"\xef\xbb\xbf1.2.3.4\r\n").unwrap();
    builder.line(&[b'1'; LINE_BYTES_MAX + 1]).unwrap();
    builder.line(b"name \xe9:5.5.5.5-5.5.5.6\n").unwrap(); // Latin-1
    let report = builder.end_of_list().unwrap();
    assert_eq!((report.ranges, report.bad), (2, 1));
    assert_eq!(report.first_bad, [(2, BadLine::Long)]);
    let filter = builder.build().unwrap();
    assert!(contains(&filter, "1.2.3.4") && contains(&filter, "5.5.5.6"));
}

#[test]
fn neighbours_are_one_range() {
    let (joined, _) = filter("1.0.0.4-1.0.0.9\n1.0.0.0-1.0.0.3\n1.0.0.2-1.0.0.5\n1.0.0.11\n");
    assert_eq!(joined.v4, [(0x0100_0000, 0x0100_0009), (0x0100_000b, 0x0100_000b)]);
}

#[test]
fn there_is_an_end_to_ranges_but_not_to_lines() {
    let every_other = || (0..RANGES_MAX as u32).map(|n| (2 * n, 2 * n));
    let v4 = every_other().chain(every_other().skip(1)).collect();
    let mut builder = IpFilterBuilder { v4, ..IpFilterBuilder::default() };
    builder.line(b"0.0.0.0").unwrap(); // all of them were there twice
    assert_eq!(builder.v4.len(), RANGES_MAX);
    builder.line(b"255.0.0.1").unwrap();
    assert_eq!(builder.build(), Err(ListError::TooMany));
}

fn range() -> impl Strategy<Value = (u32, u32)> {
    // Close together, so that they overlap and touch, and at both ends of all addresses.
    let start = prop_oneof![0u32..60, (u32::MAX - 60)..=u32::MAX, any::<u32>()];
    (start, 0u32..20).prop_map(|(start, length)| (start, start.saturating_add(length)))
}

proptest! {
    #[test]
    fn as_a_naive_set_says(ranges in prop::collection::vec(range(), 0..30), probe: u32) {
        let mut text = String::from("# list\n");
        for (index, (first, last)) in ranges.iter().enumerate() {
            let (first, last) = (Ipv4Addr::from(*first), Ipv4Addr::from(*last));
            let v6 = |ip: Ipv4Addr| Ipv6Addr::from(u128::from(u32::from(ip)) << 64);
            let line = match index % 3 {
                0 => format!("name {index}:{first}-{last}"),
                1 => format!("{first} - {last} , 100 , name"),
                _ => format!("{first}-{last}"),
            };
            text.extend([line, format!("\n{}-{}\n", v6(first), v6(last))]);
        }
        let (filter, report) = filter(&text);
        prop_assert_eq!((report.ranges, report.bad), (2 * ranges.len() as u64, 0));
        let edges = ranges.iter().flat_map(|(first, last)| {
            [first.wrapping_sub(1), *first, *last, last.wrapping_add(1)]
        });
        for ip in edges.chain([probe]) {
            let naive = ranges.iter().any(|(first, last)| (*first..=*last).contains(&ip));
            prop_assert_eq!(filter.contains(Ipv4Addr::from(ip).into()), naive);
            let v6 = Ipv6Addr::from(u128::from(ip) << 64);
            prop_assert_eq!(filter.contains(v6.into()), naive);
        }
        prop_assert!(filter.v4.is_sorted() && filter.v6.is_sorted());
    }

    #[test]
    fn any_network_holds_who_shares_its_bits(ip: u32, other: u32, bits in 0u32..=32) {
        let (filter, _) = filter(&format!("{}/{bits}", Ipv4Addr::from(ip)));
        let same = bits == 0 || ip >> (32 - bits) == other >> (32 - bits);
        prop_assert_eq!(filter.contains(Ipv4Addr::from(other).into()), same);
        prop_assert!(filter.contains(Ipv4Addr::from(ip).into()));
    }

    #[test]
    fn any_bytes_are_read_or_reported(bytes: Vec<u8>) {
        let mut builder = IpFilterBuilder::default();
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        for line in bytes.split(|byte| *byte == b'\n') {
            prop_assert_eq!(builder.line(line), Ok(()));
        }
        let report = builder.end_of_list();
        if let Ok(report) = report {
            prop_assert!(report.ranges + report.allowed + report.bad <= lines);
        }
    }
}
