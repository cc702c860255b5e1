"""Which port of ours is told over which family (BEP 7): `peerless` in a house whose gateway maps another
port over IPv4, and translates over IPv6 nothing or something."""

import urllib.parse
import urllib.request

import bencode
import netns
from cases.port_mapping import Dweller
from deadline import until
from firewall import Firewall
from gateway import Gateway
from house import House
from runner import case
from trackers.bittorrent_tracker import BittorrentTracker

OFFSET_V4 = 1000
OFFSET_V6 = 500


class OverIpv6(BittorrentTracker):
    """A tracker that is known by an IPv6 address alone."""

    def __init__(self, lab, torrents):
        super().__init__(lab, torrents, netns.IPV6[-1])

    def peers(self, torrent):
        """`{ip: port}` of those whom it tells of over IPv6."""
        fields = {"info_hash": bytes.fromhex(torrent.info_hash), "peer_id": b"-XX0000-abcdefghijkl",
                  "port": 1, "uploaded": 0, "downloaded": 0, "left": 1, "compact": 0}
        url = f"{self.url('http')}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            peers = bencode.decode(reply.read())[b"peers"]
        return {peer[b"ip"].decode(): peer[b"port"] for peer in peers if peer[b"port"] != 1}


class TwoTrackers(Dweller):
    """Announced over IPv4 to the suite's own tracker, and over IPv6 to somebody else's."""

    def __init__(self, lab, house):
        self.over_ipv6 = OverIpv6(lab, [])
        super().__init__(lab, house, self.over_ipv6.url("http"))

    def known(self):
        return self.over_ipv6.peers(self.torrent)


@case("own-ports/announced", cost=5, seconds=60)
def announced(lab):
    """libtorrent finds the seed by a tracker over IPv6, where nothing leads to the port mapped over IPv4."""
    house = House(lab, 7, ipv6=True)
    Gateway(lab, house, "pcp", offset=OFFSET_V4)
    firewall = Firewall(lab, house, "pcp")
    dweller = TwoTrackers(lab, house)
    mapped = dweller.wait_for("mapped")["tcp"]
    assert mapped == dweller.port + OFFSET_V4
    dweller.wait_for("open", "pinholes", port=dweller.port, external_port=dweller.port)
    until(lambda: mapped in dweller.announced(), 20, "the gateway's port to be announced over IPv4")
    until(dweller.known, 10, "the tracker to know it over IPv6")
    ip, port = dweller.known().popitem()
    assert (ip in house.ipv6) and port == dweller.port, (ip, port)

    leecher = lab.client("libtorrent", family=6)
    out = lab.folder("out")
    leecher.download([dweller.torrent.announcing(dweller.over_ipv6.url("http"), suffix="six")], out)
    leecher.wait_complete(20)
    leecher.stop()  # what it still holds back must be on disk
    dweller.torrent.check(out, leecher.label)
    assert firewall.holes(dweller.port) == "all", firewall.open


@case("own-ports/translated", cost=5, seconds=60)
def translated(lab):
    """A gateway that translates over IPv6 too: its port is told there, and shown."""
    house = House(lab, 7, ipv6=True)
    Gateway(lab, house, "pcp", offset=OFFSET_V4)
    Firewall(lab, house, "pcp", offset=OFFSET_V6)
    dweller = TwoTrackers(lab, house)
    outside = dweller.port + OFFSET_V6
    dweller.wait_for("open", "pinholes", port=dweller.port, external_port=outside)
    until(lambda: outside in dweller.known().values(), 10, "the tracker to hear of it over IPv6")
    until(lambda: dweller.port + OFFSET_V4 in dweller.announced(), 20, "the other port over IPv4")
    dweller.process.stop(2)

    peerless = lab.peerless()
    peerless.program = house.program(lab.peerless_path)
    port = lab.port()
    told = peerless.json("network", "--gateway", "--port", port, seconds=40).json
    assert told["told_ports"] == {"ipv4": port + OFFSET_V4, "ipv6": port + OFFSET_V6}, told
