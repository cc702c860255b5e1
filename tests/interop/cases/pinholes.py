"""Pinholes: `peerless` in a house of its own has the firewall of its gateway let peers in over IPv6, to each
of its addresses; renewed, on another port when its own changes, and closed at the end."""

import ipaddress

import tools
from cases.port_mapping import Dweller, filter_rules, start_miniupnpd
from deadline import until
from firewall import Firewall
from house import House
from process import run
from runner import case


def _opened_by(name, speaks):
    @case(f"pinholes/{speaks}", cost=3, seconds=60)
    def opened(lab):
        house = House(lab, 7, ipv6=True)
        firewall = Firewall(lab, house, speaks, life=2)
        dweller = Dweller(lab, house)
        event = dweller.wait_for("open", "pinholes")
        assert event["method"] == name and event["port"] == dweller.port, event
        assert event["gateway"] == house.gateway_ipv6, event
        assert sorted(event["addresses"]) == house.ipv6, event
        assert firewall.holes(dweller.port) == "all", firewall.open
        if speaks == "pcp":
            until(lambda: min(firewall.times("open", dweller.port)) >= 2, 10, "a renewal")
            firewall.forget()
            until(lambda: firewall.holes(dweller.port) == "all", 10, "it to open them once more")

        old, new = dweller.port, lab.port()
        dweller.listen_on(new)
        until(lambda: firewall.holes(new) == "all", 15, "pinholes for the new port")
        dweller.wait_for("open", "pinholes", port=new)  # it knows what to close: the answers are there
        assert firewall.holes(old) == "none", firewall.open
        assert min(firewall.times("close", old)) >= 1, firewall.asked
        dweller.process.stop(2)
        assert firewall.holes(new) == "none", firewall.asked

    return opened


_opened_by("PCP", "pcp")
_opened_by("UPnP", "upnp")


@case("pinholes/both", cost=1, seconds=60)
def both(lab):
    """What PCP was asked for in vain is not mistaken for what UPnP opened, which is closed at the end."""
    house = House(lab, 7, ipv6=True)
    firewall = Firewall(lab, house, "both")
    dweller = Dweller(lab, house)
    event = dweller.wait_for("open", "pinholes")
    assert event["method"] == "UPnP" and sorted(event["addresses"]) == house.ipv6, event
    assert firewall.holes(dweller.port) == "all", firewall.open
    assert any(line[0] == "translate" for line in firewall.asked), firewall.asked
    dweller.process.stop(2)
    assert firewall.holes(dweller.port) == "none", firewall.asked


NO_PCP = """
table inet filter {
    chain input { type filter hook input priority 0; policy accept;
        meta nfproto ipv6 udp dport 5351 reject
    }
}
"""


def _hex(ip):
    return f"0x{ipaddress.ip_address(ip):x}"


def _miniupnpd(name, speaks_pcp):
    @case(f"pinholes/miniupnpd-{name.lower()}", cost=1)
    def miniupnpd(lab):
        """A real one, of which the kernel's own rules show what it did."""
        house = House(lab, 7, ipv6=True)
        # Pinholes by UPnP alone, without mappings for IPv4 beside them.
        start_miniupnpd(lab, house, speaks_pcp, maps=speaks_pcp)
        if not speaks_pcp:  # over IPv6 it does so whatever its settings say
            run([tools.program("nft"), "-f", "-"], lab.folder("nft"), 5, stdin=NO_PCP)
        dweller = Dweller(lab, house)
        event = dweller.wait_for("open", "pinholes")
        assert event["method"] == name and sorted(event["addresses"]) == house.ipv6, event

        def holes(port):
            """Addresses and protocols of the rules, which nft shows as the bytes that they match."""
            lines = filter_rules(lab, "miniupnpd").splitlines()
            wanted = {(ip, kind): [f" dport {port} ", f" {_hex(ip)} ", f" {kind} accept"]
                      for ip in house.ipv6 for kind in ("0x6", "0x11")}
            return {key for key, parts in wanted.items()
                    if any(all(part in line for part in parts) for line in lines)}

        old, new = dweller.port, lab.port()
        assert len(holes(old)) == 4, filter_rules(lab, "miniupnpd")
        if speaks_pcp:
            return  # while it maps for IPv4, it refuses now and then to close what it opened by PCP
        dweller.listen_on(new)
        until(lambda: len(holes(new)) == 4, 10, "pinholes for the new port")
        assert not holes(old), filter_rules(lab, "miniupnpd")
        dweller.process.stop(2)
        assert not holes(new), filter_rules(lab, "miniupnpd")


_miniupnpd("PCP", True)
_miniupnpd("UPnP", False)


@case("pinholes/shown", cost=3, seconds=60)
def shown(lab):
    """By `network`, which gives back what it took; and a firewall that is off needs none."""
    house = House(lab, 7, ipv6=True)
    firewall = Firewall(lab, house, "upnp")
    peerless = lab.peerless()
    peerless.program = house.program(lab.peerless_path)
    port = lab.port()
    words = ["network", "--gateway", "--port", port]
    told = peerless.json(*words, seconds=40).json
    assert told["pinholes"]["state"] == "open" and told["pinholes"]["port"] == port, told
    assert told["port_mapping"]["state"] == "failed", told
    assert firewall.asked and firewall.holes(port) == "none", firewall.asked
    firewall.is_on = False
    done = peerless.run("network", "--gateway", "--bind", f"{house.ipv6[0]}%door7", seconds=40)
    assert "the gateway's firewall for IPv6 is off" in done.out, done
