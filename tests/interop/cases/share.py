"""`share`: one command makes the torrent, tracks it, seeds it and serves the file that fetches it."""

import payloads
import tools
from process import run
from runner import case


def _share(lab, torrent):
    """Start it; gives the URL of the .torrent that it prints."""
    sharer = lab.peerless()
    ports = ["--port", sharer.port, "--tracker-port", lab.port()]
    process = sharer.start("share.log", "share", torrent.home / torrent.name, "--bind", sharer.ip, *ports)
    lab.at_end(process.stop)
    return sharer.wait_for_event(process, "sharing", 20)["url"]


@case("share/to-peerless", cost=2)
def to_peerless(lab):
    torrent = payloads.tree(lab.directory, "shared")
    url = _share(lab, torrent)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.run("get", url, "-o", out, "--bind", leecher.ip)
    torrent.check(out, leecher.label)


@case("share/to-aria2", cost=5)
def to_aria2(lab):
    """aria2 follows the URL, announces to our tracker and finds us there."""
    torrent = payloads.tree(lab.directory, "shared")
    url = _share(lab, torrent)
    out = lab.folder("out")
    plain = ["--no-conf", "--disable-ipv6=true", "--enable-dht=false", "--file-allocation=none"]
    run([tools.program("aria2c"), *plain, "--seed-time=0", f"--dir={out}", url], lab.directory, 40)
    torrent.check(out, "aria2")


@case("share/by-dht", cost=1, seconds=90)
def by_dht(lab):
    """Without the URL: the info hash and a node of libtorrent's that both begin with are enough."""
    torrent = payloads.make(lab.directory, "shared.bin", 500_000)
    node = lab.client("libtorrent", dht="")
    node.status()  # it is up
    sharer = lab.peerless()
    ports = ["--port", sharer.port, "--tracker-port", lab.port(), "--dht-bootstrap", node.endpoint]
    process = sharer.start("share.log", "share", torrent.home / torrent.name, "--bind", sharer.ip, *ports)
    lab.at_end(process.stop)
    shared = sharer.wait_for_event(process, "sharing", 20)
    leecher = lab.peerless()
    out = lab.folder("out")
    link = f"magnet:?xt=urn:btih:{shared['info_hash']}"
    words = ["get", link, "-o", out, "--bind", leecher.ip, "--dht-bootstrap", node.endpoint]
    leecher.run(*words, seconds=60)
    torrent.check(out, leecher.label)
