"""Peers that know each other by the DHT alone, across implementations: no tracker, no address given."""

import payloads
from clients.peerless import Exit
from runner import case


def _hub(lab, kind):
    """A node of `kind` that all others begin with; gives its endpoint."""
    if kind == "libtorrent":
        node = lab.client(kind, dht="")
        node.status()  # it is up
        return node.endpoint
    # A peerless that seeds something else. It must be told of a node to have one: itself will do.
    other = payloads.make(lab.folder("hub"), "other.bin", 1)
    hub = lab.peerless()
    endpoint = f"{hub.ip}:{lab._port + 1}"
    hub.seed([other], other.home, "--dht-bootstrap", endpoint)
    assert hub.serving(other) == endpoint
    return endpoint


def _finds(lab, leecher, torrent, seconds, *extra):
    out = lab.folder("out")
    if extra:
        leecher.download([torrent], out, extra=list(extra))
    else:
        leecher.download([torrent], out)
    leecher.wait_complete(seconds)
    leecher.stop()
    torrent.check(out, leecher.label)


def _with(kind, hub_kind):
    get_cost, seed_cost = (7, 14) if kind == "aria2" else (1, 1)

    @case(f"dht/get-from-{kind}-by-{hub_kind}", cost=get_cost, seconds=110)
    def get(lab):
        torrent = payloads.make(lab.directory, "dht.bin", 500_000)
        hub = _hub(lab, hub_kind)
        seeder = lab.client(kind, dht=hub)
        seeder.seed([torrent], torrent.home)
        _finds(lab, lab.peerless(), torrent, 80, "--dht-bootstrap", hub)

    @case(f"dht/seed-to-{kind}-by-{hub_kind}", cost=seed_cost, seconds=110)
    def seed(lab):
        torrent = payloads.make(lab.directory, "dht.bin", 500_000)
        hub = _hub(lab, hub_kind)
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home, "--dht-bootstrap", hub)
        _finds(lab, lab.client(kind, dht=hub), torrent, 80)


for _kind in ("libtorrent", "aria2"):
    for _hub_kind in ("peerless", "libtorrent"):
        _with(_kind, _hub_kind)


@case("dht/commands", cost=15, seconds=100)
def commands(lab):
    """Every `dht` command against a node of libtorrent's."""
    node = lab.client("libtorrent", dht="")
    node.status()  # it is up
    user = lab.peerless()
    # One port for all: the node knows none of them but the last.
    where = ["--bind", user.ip, "--port", user.port, "--dht-bootstrap", node.endpoint]
    pong = user.json("dht", "ping", node.endpoint, "--bind", user.ip).json
    assert pong["client"].startswith("LT"), pong
    assert len(pong["id"]) == 40 and pong["seen_as"].startswith(user.ip), pong
    stored = user.json("dht", "put", "Hello World!", *where).json
    assert stored["target"] == "e5f96f6f38320f0f33959cb4d3d656452117aadb", stored
    assert stored["nodes"] == 1, stored
    got = user.json("dht", "get", stored["target"], *where).json
    assert got["text"] == "Hello World!", got
    key = lab.directory / "key"
    for edition in ("first", "second"):
        edited = user.json("dht", "put", edition, "--key", key, "--salt", "news", *where).json
        assert edited["nodes"] == 1, edited
    got = user.json("dht", "get", "--key", edited["key"], "--salt", "news", *where).json
    assert (got["text"], got["seq"]) == ("second", 2), got
    user.run("dht", "put", "third", "--key", key, "--salt", "news", "--seq", "1", *where, code=Exit.NO_PEERS)
    announced = user.json("dht", "peers", "ab" * 20, "--announce", "7000", *where).json
    assert announced["announced"] == 1, announced
    found = user.json("dht", "peers", "ab" * 20, *where).json
    assert found["peers"] == [f"{user.ip}:7000"], found
    sample = user.json("dht", "sample", *where).json
    assert sample["torrents"] == ["ab" * 20], sample
    status = user.json("dht", "status", *where).json
    assert status["interfaces"][0]["joined"], status
    user.run("dht", "peers", "cd" * 20, *where, code=Exit.NO_PEERS)
    user.run("dht", "ping", f"{node.ip}:9", "--bind", user.ip, code=Exit.NO_PEERS)
