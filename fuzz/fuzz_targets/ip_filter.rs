//! Lists of addresses: any bytes give a filter that holds what the same lines give one by one, and
//! neighbours of it only if another line has them.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use swarm::{IpFilter, IpFilterBuilder};

fn filter<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<IpFilter> {
    let mut builder = IpFilterBuilder::default();
    for line in lines {
        builder.line(line).ok()?;
    }
    builder.build().ok()
}

fuzz_target!(|input: &[u8]| {
    // The last 16 bytes are an address to ask for, also as IPv4.
    let Some((list, probe)) = input.split_last_chunk::<16>() else { return };
    let lines: Vec<&[u8]> = list.split(|byte| *byte == b'\n').collect();
    let Some(all) = filter(lines.iter().copied()) else { return };
    let v4 = probe.first_chunk::<4>().copied().unwrap_or_default();
    for ip in [IpAddr::from(*probe), IpAddr::from(v4)] {
        let one = lines
            .iter()
            .take(200)
            .any(|line| filter([*line]).is_some_and(|filter| filter.contains(ip)));
        assert!(!one || all.contains(ip));
        assert!(one || lines.len() > 200 || !all.contains(ip));
    }
});
