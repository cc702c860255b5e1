"""Port mapping: `peerless` in a house of its own asks its gateway, which is scripted or miniupnpd."""

import netns
import payloads
import tools
from deadline import until
from gateway import EXTERNAL_IP, Gateway
from house import House
from process import Process, run
from runner import case

SOON_SECONDS = 30
"""Seconds in which everything here has happened long since."""


class Dweller:
    """A seed of ours in a house, announced to a tracker outside, and to more."""

    def __init__(self, lab, house, *trackers, more=()):
        self.port = lab.port()
        self.tracker = lab.plain_tracker
        torrent = payloads.make(lab.directory, "mapped.bin", 100_000)
        torrent = self.torrent = torrent.announcing(self.tracker.url, *trackers)
        peerless = lab.peerless()
        peerless.program = house.program(lab.peerless_path)
        self.named = lab.directory / "port"
        self.named.write_text(f"{self.port}\n")
        words = ["--port-file", self.named, "--allow-private", "--port-mapping", *more]
        self.process = peerless.start("seed.log", "seed", torrent.path, torrent.home, *words)
        lab.at_end(self.process.stop)
        self.peerless = peerless

    def wait_for(self, state, kind="port_mapping", **more):
        wanted = {"event": kind, "state": state, **more}

        def said():
            events = self.peerless.events(self.process)
            found = [event for event in events if wanted.items() <= event.items()]
            return found or not self.process.check_running()

        return until(said, SOON_SECONDS, f"{kind} to be {state}")[-1]

    def listen_on(self, port):
        """Another port, as a VPN's program would have it."""
        self.named.write_text(str(port))
        self.port = port

    def states(self, kind="port_mapping"):
        """What was told of it, one after the other."""
        return [event["state"] for event in self.peerless.events(self.process) if event["event"] == kind]

    def announced(self):
        return [int(announce["port"]) for announce in self.tracker.announces]


def _mapped_by(name, speaks):
    @case(f"port-mapping/{speaks}", cost=8)
    def mapped(lab):
        house = House(lab, 7)
        gateway = Gateway(lab, house, speaks, offset=1000, life=4)
        dweller = Dweller(lab, house)
        event = dweller.wait_for("mapped")
        assert event["method"] == name, event
        assert event["external_ip"] == EXTERNAL_IP, event
        if speaks != "upnp":
            assert event["tcp"] == event["udp"] == dweller.port + 1000, event
        assert event["tcp"] != dweller.port
        # Peers are told of the gateway's port.
        until(lambda: event["tcp"] in dweller.announced(), 20, "the gateway's port to be announced")
        if speaks != "upnp":
            for protocol in ("TCP", "UDP"):
                until(lambda p=protocol: gateway.mapped(p, dweller.port) >= 2, 10, "a renewal")
            gateway.restart()
            until(lambda: gateway.mapped("TCP", dweller.port), 10, "it to map once more")

        old, new = event["tcp"], lab.port()
        gateway.asked.clear()
        dweller.listen_on(new)
        until(lambda: gateway.mapped("TCP", new) and gateway.mapped("UDP", new), 10, "the new port")
        # The old one is given back before: it may be the same outside.
        ends = [at for at, (what, *_) in enumerate(gateway.asked) if what == "end"]
        maps = [at for at, (what, _, internal, *_) in enumerate(gateway.asked) if (what, internal) == ("map", new)]
        assert len(ends) == 2 and max(ends) < min(maps), gateway.asked
        if speaks == "upnp":
            assert {external for what, _, _, external, _ in gateway.asked if what == "end"} == {old}
            tcp = next(line[3] for line in gateway.asked if line[:3] == ("map", "TCP", new))
        else:
            tcp = new + 1000
        event = dweller.wait_for("mapped", tcp=tcp)
        until(lambda: event["tcp"] in dweller.announced(), 10, "the new port to be announced")
        gateway.asked.clear()
        dweller.process.stop(2)
        assert gateway.ended("TCP") and gateway.ended("UDP"), gateway.asked


_mapped_by("PCP", "pcp")
_mapped_by("NAT-PMP", "nat-pmp")
_mapped_by("UPnP", "upnp")


@case("port-mapping/misled", cost=8)
def misled(lab):
    """A description on another host is not fetched, and a failure is no end."""
    house = House(lab, 7)
    gateway = Gateway(lab, house, "upnp")
    gateway.misled_to = netns.IPV4[-1]
    dweller = Dweller(lab, house)
    event = dweller.wait_for("failed")
    assert str(dweller.port) in event["reason"] and "by hand" in event["reason"], event
    assert gateway.asked == []
    assert dweller.announced() == [dweller.port]


MINIUPNPD = """
ext_ifname=ext0
ext_ip={external}
listening_ip={inside}
enable_natpmp={pcp}
enable_upnp=yes
secure_mode=yes
lease_file={leases}
uuid=22db1502-d442-473a-8ac7-215386911079
{rule} 0-65535 0.0.0.0/0 0-65535
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
"""
RULES = """
table inet filter {
    chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd
    }
    chain miniupnpd {
    }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd
    }
    chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd
    }
    chain prerouting_miniupnpd {
    }
    chain postrouting_miniupnpd {
    }
}
"""


def filter_rules(lab, chain):
    return run([tools.program("nft"), "list", "chain", "inet", "filter", chain], lab.folder("nft"), 5).out


def _redirects(lab):
    return filter_rules(lab, "prerouting_miniupnpd")


def _miniupnpd(name, speaks_pcp):
    @case(f"port-mapping/miniupnpd-{name.lower()}", cost=2)
    def miniupnpd(lab):
        """A real one, of which the kernel's own rules show what it did."""
        house = House(lab, 7)
        start_miniupnpd(lab, house, speaks_pcp)
        dweller = Dweller(lab, house)
        event = dweller.wait_for("mapped")
        assert event["method"] == name and event["external_ip"] == EXTERNAL_IP, event
        for protocol in ("tcp", "udp"):
            rule = f"dport {event[protocol]} dnat ip to {house.ip}:{dweller.port}"
            assert _redirects(lab).count(rule) == 2, _redirects(lab)
        old, new = dweller.port, lab.port()
        dweller.listen_on(new)
        until(lambda: f"{house.ip}:{new}" in _redirects(lab), 10, "the new port to be mapped")
        dweller.wait_for("mapped", tcp=new)
        assert f"{house.ip}:{old}" not in _redirects(lab), _redirects(lab)
        dweller.process.stop(2)
        assert "dnat" not in _redirects(lab), _redirects(lab)


_miniupnpd("PCP", True)
_miniupnpd("UPnP", False)


@case("port-mapping/miniupnpd-restarted", cost=10, seconds=60)
def restarted(lab):
    """The gateway goes, and what it mapped with it: that is told, and asked for anew until it is there."""
    house = House(lab, 7)
    server = start_miniupnpd(lab, house, True, more="max_lifetime=4\nmin_lifetime=2")
    dweller = Dweller(lab, house)
    mapped = dweller.wait_for("mapped")
    server.kill()
    failed = dweller.wait_for("failed")
    assert house.gateway in failed["reason"] and "by hand" in failed["reason"], failed
    _forget(lab)
    server = start_again(lab, 1)
    rule = f"dport {mapped['tcp']} dnat ip to {house.ip}:{dweller.port}"
    until(lambda: _redirects(lab).count(rule) == 2, 20, "the port to be mapped once more")
    until(lambda: dweller.states()[-1] == "mapped", 10, "that to be told")
    # It may be gone and back between two questions, too: its clock says so (RFC 6887, 8.5).
    server.kill()
    _forget(lab)
    server = start_again(lab, 2)
    until(lambda: _redirects(lab).count(rule) == 2, 20, "the port to be mapped a third time")
    dweller.process.stop(2)
    assert "dnat" not in _redirects(lab), _redirects(lab)


def _forget(lab):
    """What a gateway that restarts has lost."""
    words = ["flush", "chain", "inet", "filter", "prerouting_miniupnpd"]
    assert run([tools.program("nft"), *words], lab.folder("nft"), 5).code == 0


def start_again(lab, number):
    """For the `number`th time, with a log of its own."""
    home = lab.folder("miniupnpd")
    (home / "leases").unlink(missing_ok=True)
    daemon = [tools.program("miniupnpd"), "-d", "-f", home / "miniupnpd.conf", "-P", home / "pid"]
    server = Process(daemon, home, f"miniupnpd-again-{number}")
    lab.at_end(server.stop)
    server.wait_for_log("listening on", 10)
    return server


def start_miniupnpd(lab, house, speaks_pcp, maps=True, more=""):
    home = lab.folder("miniupnpd")
    for words in (["ip", "link", "add", "ext0", "type", "bridge"],
                  ["ip", "addr", "add", f"{EXTERNAL_IP}/24", "dev", "ext0"],
                  ["ip", "link", "set", "ext0", "up"]):
        assert run(words, home, 5).code == 0, words
    lab.at_end(lambda: run(["ip", "link", "del", "ext0"], home, 5))
    nft = tools.program("nft")
    assert run([nft, "-f", "-"], home, 5, stdin=RULES).code == 0
    lab.at_end(lambda: run([nft, "delete", "table", "inet", "filter"], home, 5))
    config = home / "miniupnpd.conf"
    options = {"external": EXTERNAL_IP, "inside": house.outside, "leases": home / "leases"}
    options["rule"] = "allow" if maps else "deny"
    options["pcp"] = "yes" if speaks_pcp else "no"
    config.write_text(f"{more}\n{MINIUPNPD.format(**options)}")
    daemon = [tools.program("miniupnpd"), "-d", "-f", config, "-P", home / "pid"]
    server = Process(daemon, home, "miniupnpd")
    lab.at_end(server.stop)
    server.wait_for_log("listening on", 10)
    return server
