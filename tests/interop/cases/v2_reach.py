"""How peers of v2 torrents and hybrids (BEP 52) find each other, by the first twenty bytes of the v2 hash:
by the DHT alone, on the local network alone, told by a peer of both; and encrypted, where that name is
the key (MSE).
"""

import payloads_v2
from deadline import until
from runner import case
from transfers import fetch

FILES = [(("a",), 900_000), (("b",), 70_000)]
LOCAL = ["--local-discovery", "--no-tracker"]
REQUIRED = ["--encryption", "require"]


def _torrent(lab, hybrid=False):
    return payloads_v2.make(lab.directory, "both ways" if hybrid else "second", FILES, hybrid=hybrid)


def _hub(lab):
    node = lab.client("libtorrent", dht="")
    node.status()  # it is up
    return node.endpoint


def _came(leecher, torrent, out, seconds):
    leecher.wait_complete(seconds)
    leecher.stop()
    torrent.check(out, leecher.label)


@case("v2-reach/dht-from-libtorrent", cost=1, seconds=110)
def dht_from(lab):
    """By a link of the v2 hash, so that all there is of the name is what the DHT has."""
    torrent, hub = _torrent(lab), _hub(lab)
    lab.client("libtorrent", dht=hub).seed([torrent], torrent.home)
    leecher, out = lab.peerless(), lab.folder("out")
    leecher.download([torrent], out, by_magnet=True, extra=["--dht-bootstrap", hub])
    _came(leecher, torrent, out, 80)


@case("v2-reach/dht-to-libtorrent", cost=3, seconds=110)
def dht_to(lab):
    torrent, hub = _torrent(lab), _hub(lab)
    lab.peerless().seed([torrent], torrent.home, "--dht-bootstrap", hub)
    leecher, out = lab.client("libtorrent", dht=hub), lab.folder("out")
    leecher.download([torrent], out, by_magnet=True)
    _came(leecher, torrent, out, 80)


@case("v2-reach/dht-hybrid-by-both-names", cost=3, seconds=110)
def dht_hybrid(lab):
    """A hybrid is announced by both names: a link that has one alone finds it, whichever that is."""
    torrent, hub = _torrent(lab, hybrid=True), _hub(lab)
    lab.peerless().seed([torrent], torrent.home, "--dht-bootstrap", hub)
    links = [torrent.magnet(), super(type(torrent), torrent).magnet()]
    assert "btmh" in links[0] and "btih" in links[1], links
    for link in links:
        leecher = lab.peerless()
        out = lab.folder(f"out-{leecher.port}")
        words = ["-o", out, "--bind", leecher.ip, "--port", leecher.port, "--dht-bootstrap", hub]
        leecher.run("get", link, *words, seconds=50)
        torrent.check(out, leecher.label)


def _local(kind, hybrid):
    @case(f"v2-reach/local-{kind}-from-libtorrent", cost=1, seconds=70)
    def local(lab):
        torrent = _torrent(lab, hybrid)
        leecher, out = lab.peerless(arguments=LOCAL), lab.folder("out")
        leecher.download([torrent], out, by_magnet=True)
        lab.client("libtorrent", local_discovery=True).seed([torrent], torrent.home)
        _came(leecher, torrent, out, 50)

    @case(f"v2-reach/local-{kind}-between-us", cost=3)
    def ourselves(lab):
        torrent = _torrent(lab, hybrid)
        lab.peerless(arguments=LOCAL).seed([torrent], torrent.home)
        leecher, out = lab.peerless(arguments=LOCAL), lab.folder("out")
        leecher.download([torrent], out, by_magnet=True)
        _came(leecher, torrent, out, 30)


def _encrypted(kind, hybrid):
    @case(f"v2-reach/encrypted-{kind}-from-libtorrent", cost=1)
    def obtained(lab):
        torrent = _torrent(lab, hybrid)
        seeder = lab.client("libtorrent", encryption="rc4")
        seeder.seed([torrent], torrent.home)
        for by_magnet in (False, True):
            fetch(lab, "peerless", [torrent], seeder, 30, by_magnet=by_magnet, arguments=REQUIRED)

    @case(f"v2-reach/encrypted-{kind}-to-libtorrent", cost=1)
    def given(lab):
        torrent = _torrent(lab, hybrid)
        seeder = lab.peerless(arguments=REQUIRED)
        seeder.seed([torrent], torrent.home)
        for by_magnet in (False, True):
            fetch(lab, "libtorrent", [torrent], seeder, 30, by_magnet=by_magnet, encryption="rc4")


for _kind, _hybrid in {"v2": False, "hybrid": True}.items():
    _local(_kind, _hybrid)
    _encrypted(_kind, _hybrid)


@case("v2-reach/exchange", seconds=90, cost=3)
def exchange(lab):
    """We tell two libtorrents of each other that know us alone; nobody has anything.

    Told in the same moment, they dial each other in the same moment, and then each may close the one
    connection for being a second one of the other. So it is their dialling that shows they were told.
    """
    torrent = _torrent(lab)
    hub = lab.peerless()
    hub.download([torrent], lab.folder("hub"), extra=["--no-tracker"])
    others = [lab.client("libtorrent"), lab.client("libtorrent")]
    for other in others:
        other.download([torrent], lab.folder(f"out-{other.label}"), [hub])

    said = {other.label: [] for other in others}

    def dialled(one, other):
        said[one.label] += one.alerts()
        return any(f"{other.endpoint} outgoing connection" in line for line in said[one.label])

    def met():
        return dialled(*others) or dialled(*reversed(others))

    until(met, 60, "one of the two to dial the other")
