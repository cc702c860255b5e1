"""Magnet links: the metadata and then the data, from and to each kind of client (BEP 9)."""

import bencode
import payloads
from clients.peerless import Exit
from lab import FOREIGN
from runner import case
from transfers import fetch


def _between(kind):
    cost = 15 if kind == "transmission" else 4

    @case(f"magnet/from-{kind}", cost=cost)
    def obtained(lab):
        seeder = lab.client(kind)
        torrent = payloads.tree(lab.directory, f"link from {kind}", seeder.can_seed_empty)
        assert len(bencode.encode(torrent.info)) > payloads.BLOCK, "one piece of metadata is too easy"
        seeder.seed([torrent], torrent.home)
        fetch(lab, "peerless", [torrent], seeder, 50, by_magnet=True)

    @case(f"magnet/to-{kind}", cost=cost)
    def given(lab):
        torrent = payloads.tree(lab.directory, f"link to {kind}", FOREIGN[kind].can_seed_empty)
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home)
        fetch(lab, kind, [torrent], seeder, 50, by_magnet=True)


for _kind in FOREIGN:
    _between(_kind)


@case("magnet/info", cost=2)
def shown(lab):
    """Trackers and peers of the link are used; what it leads to is shown as a file would be."""
    torrent = payloads.tree(lab.directory, "shown by its link")
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    us = lab.peerless()
    by_file = us.json("info", torrent.path).json
    link = f"{torrent.magnet()}&x.pe={seeder.endpoint}"
    events = us.json("info", link, "--bind", us.ip).lines
    assert events[-1] == by_file, events
    tracker = lab.plain_tracker
    tracker.introduce([torrent], [seeder])
    by_tracker = torrent.magnet([tracker.url])
    options = ["--bind", us.ip, "--allow-private"]
    answer = us.json("info", by_tracker, *options).json
    assert answer["info_hash"] == torrent.info_hash and answer["trackers"] == [[tracker.url]], answer
    peers = us.json("peers", by_tracker, *options).json
    assert seeder.endpoint in peers["peers"], peers


@case("magnet/nobody-has-it", cost=4)
def nobody(lab):
    """No metadata: told why, with an exit code of its own; a broken link is another."""
    us = lab.peerless()
    torrent = payloads.make(lab.directory, "wanted.bin", 1000)
    options = ["--wait-peers", 2, "-o", lab.folder("out")]
    done = us.run("get", torrent.magnet(), *options, code=Exit.NO_PEERS)
    assert "no metadata" in done.err, done
    us.run("get", "magnet:?xt=urn:btih:123", *options, code=Exit.BAD_TORRENT)


@case("magnet/handshake", cost=2)
def handshake(lab):
    torrent = payloads.make(lab.directory, "greeted.bin", 50_000)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    us = lab.peerless()
    answer = us.json("handshake", torrent.magnet(), seeder.endpoint, "--bind", us.ip).json
    assert answer["extended"]["metadata_size"] == len(bencode.encode(torrent.info)), answer
