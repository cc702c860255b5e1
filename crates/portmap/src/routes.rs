//! The gateway, from what Linux says of its routes in `/proc/net/route` and `/proc/net/ipv6_route`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// `RTF_UP` and `RTF_GATEWAY`.
const FLAGS: u32 = 3;

/// The gateway of the default route for IPv4 with the least metric, by `interface` if one is given.
pub fn default_gateway_v4(table: &str, interface: Option<&str>) -> Option<Ipv4Addr> {
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[name, target, gateway, flags, _, _, metric, mask, ..] = fields.as_slice() else {
            return None;
        };
        let default = is_zero(target) && is_zero(mask) && is_by(flags);
        let ours = interface.is_none_or(|interface| interface == name);
        // As the kernel has it in memory: the first byte of the address is the lowest.
        let bytes = u32::from_str_radix(gateway, 16).ok()?.swap_bytes();
        let gateway = if cfg!(target_endian = "big") { bytes.swap_bytes() } else { bytes };
        (default && ours && gateway != 0)
            .then_some((metric.parse::<u32>().ok()?, Ipv4Addr::from_bits(gateway)))
    });
    routes.min().map(|(_, gateway)| gateway)
}

/// The same for IPv6, with the interface: such gateways mostly have addresses of their link alone.
pub fn default_gateway_v6(table: &str, interface: Option<&str>) -> Option<(Ipv6Addr, String)> {
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[target, length, _, _, gateway, metric, _, _, flags, name] = fields.as_slice() else {
            return None;
        };
        let default = is_zero(target) && is_zero(length) && is_by(flags);
        let ours = interface.is_none_or(|interface| interface == name);
        let gateway = u128::from_str_radix(gateway, 16).ok().filter(|gateway| *gateway != 0)?;
        let metric = u32::from_str_radix(metric, 16).ok()?;
        (default && ours).then(|| (metric, Ipv6Addr::from_bits(gateway), name.to_owned()))
    });
    routes.min().map(|(_, gateway, name)| (gateway, name))
}

fn is_zero(hex: &str) -> bool {
    !hex.is_empty() && hex.bytes().all(|byte| byte == b'0')
}

fn is_by(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & FLAGS == FLAGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    const V4: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0
";

    const V6: &str = "\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_best_default_route_has_the_gateway() {
        assert_eq!(default_gateway_v4(V4, None), Some(Ipv4Addr::new(10, 0, 0, 254)));
        assert_eq!(default_gateway_v4(V4, Some("wlan0")), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(default_gateway_v4(V4, Some("tun0")), None, "a tunnel has none");
        for nonsense in ["", "a b", "a 0 zz 3 0 0 0 0 0"] {
            assert_eq!(default_gateway_v4(nonsense, None), None);
        }
    }

    #[test]
    fn the_same_for_ipv6() {
        let (gateway, interface) = default_gateway_v6(V6, None).unwrap();
        assert_eq!((gateway, interface.as_str()), ("fe80::1".parse().unwrap(), "eth0"));
        assert_eq!(default_gateway_v6(V6, Some("lo")), None);
    }
}
