"""Magnet links: the metadata and then the data, from and to each kind of client (BEP 9)."""

import struct

import bencode
import netns
import payloads
from clients.peerless import Exit
from elsewhere import Capture
from lab import FOREIGN
from runner import case
from transfers import fetch


def _dials(capture, port):
    """Where TCP connections to a port came from: packets with SYN, and without ACK."""
    over_tcp = [p for p in capture.packets if p[12:14] == b"\x08\x00" and p[23] == 6]
    first = [p for p in over_tcp if p[47] & 0x12 == 0x02]
    ports = [struct.unpack("!HH", p[34:38]) for p in first]
    return {source for source, to in ports if to == port}


def _between(kind):
    get_cost, seed_cost = (15, 21) if kind == "transmission" else (3, 3)

    @case(f"magnet/from-{kind}", cost=get_cost)
    def obtained(lab):
        seeder = lab.client(kind)
        torrent = payloads.tree(lab.directory, f"link from {kind}", seeder.can_seed_empty)
        assert len(bencode.encode(torrent.info)) > payloads.BLOCK, "one piece of metadata is too easy"
        seeder.seed([torrent], torrent.home)
        capture = Capture(lab, "lo")
        fetch(lab, "peerless", [torrent], seeder, 50, by_magnet=True)
        dials = _dials(capture, netns.split(seeder.serving(torrent))[1])
        assert len(dials) == 1, f"metadata and data came by {len(dials)} connections"

    @case(f"magnet/to-{kind}", cost=seed_cost)
    def given(lab):
        torrent = payloads.tree(lab.directory, f"link to {kind}", FOREIGN[kind].can_seed_empty)
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home)
        fetch(lab, kind, [torrent], seeder, 50, by_magnet=True)


for _kind in FOREIGN:
    _between(_kind)


@case("magnet/from-libtorrent-rc4", cost=3)
def through_rc4(lab):
    """A connection's keys go over to the torrent with it."""
    torrent = payloads.tree(lab.directory, "link through RC4")
    seeder = lab.client("libtorrent", as_shipped=True, encryption="rc4")
    seeder.seed([torrent], torrent.home)
    capture = Capture(lab, "lo")
    fetch(lab, "peerless", [torrent], seeder, 50, by_magnet=True)
    dials = _dials(capture, seeder.port)
    assert len(dials) == 2, f"{len(dials)} dials, not one in the open and one encrypted"


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
