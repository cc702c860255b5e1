"""The v1 side of a hybrid (BEP 52, 47) to and from clients that know v1 alone, by file and by link: Debian
13's Transmission and aria2. To them its padding is files, which they fetch, write and need to seed.

Debian 12's read no hybrid, whoever made it. Transmission 3.00 takes the empty key under which a file tree
has its files for no key at all, and the whole file for corrupt; a link's metadata it drops for the same
reason, and asks for it again for ever. aria2 1.36 leaves entries with an empty key out, and as it reckons
the info hash from what it keeps, it looks for a torrent that nobody else has. Both were mended by their
authors, in 4.0 and 1.37.
"""

import shutil
from dataclasses import replace

import payloads
import payloads_v2
from lab import NEWER
from payloads import BLOCK, PIECE
from runner import case

SECONDS = 40


def _created(lab, plain):
    """Made by `create`, which `creation/*` compares with libtorrent's byte for byte."""
    path = plain.path.with_suffix(".created.torrent")
    us = lab.peerless()
    data = plain.home / plain.name
    us.run("create", data, "-o", path, "--format", "hybrid", "--piece-length", plain.piece_length)
    made = payloads_v2.existing(path, plain)
    assert us.json("info", path).json["info_hash"] == made.info_hash, made.info_hash
    return replace(made, linked_by_v1=True)


def _hybrids(lab, name):
    """A folder with padding between its files, and a single file, which needs none."""
    folder = payloads_v2.shapes(lab.directory, f"folder {name}", True)
    single = payloads.make(lab.directory, f"single {name}", 5 * PIECE + 12_345)
    return [_created(lab, plain) for plain in (folder, single)]


def _pads(torrent):
    for entry in torrent.info.get("files", []):
        if b"p" in entry.get(b"attr", b""):
            yield "/".join(part.decode() for part in entry[b"path"]), entry[b"length"]


def _check(torrent, out, who):
    """What a v1 client has: the files, and padding, which is nothing but zeros of the length it says."""
    for path, length in _pads(torrent):
        padding = out / torrent.name / path
        if padding.exists():
            assert padding.read_bytes() == bytes(length), f"{who}: {path}"
    if (out / torrent.name).is_dir():
        shutil.rmtree(out / torrent.name / ".pad", ignore_errors=True)
    torrent.check(out, who)


def _by_file_and_link(lab, kind, torrents, seeder):
    """Two of a kind at once, complete and ended; gives them with where they put it."""
    leechers = []
    for by_magnet in (False, True):
        leecher = lab.client(kind)
        out = lab.folder(f"out-{leecher.port}")
        leecher.download(torrents, out, [seeder], by_magnet=by_magnet)
        leechers.append((leecher, out))
    for leecher, _ in leechers:
        leecher.wait_complete(SECONDS)
        leecher.stop()
    return leechers


def _with(kind):
    cost = 14 if kind.startswith("transmission") else 4

    @case(f"hybrids/to-{kind}", seconds=90, cost=cost)
    def given(lab):
        torrents = _hybrids(lab, f"to {kind}")
        seeder = lab.peerless()
        seeder.seed(torrents, torrents[0].home)
        for leecher, out in _by_file_and_link(lab, kind, torrents, seeder):
            for torrent in torrents:
                _check(torrent, out, leecher.label)

    @case(f"hybrids/from-{kind}", seconds=90, cost=cost)
    def obtained(lab):
        torrents = _hybrids(lab, f"from {kind}")
        home = torrents[0].home
        for torrent in torrents:
            for path, length in _pads(torrent):
                padding = home / torrent.name / path
                padding.parent.mkdir(exist_ok=True)
                padding.write_bytes(bytes(length))
        seeder = lab.client(kind)
        seeder.seed(torrents, home)
        # Blocks of nothing but padding are not asked for; the last of a single file is short.
        blocks = sum(-(-length // BLOCK) * BLOCK for _, length in torrents[0].files)
        asked_for = blocks + torrents[1].size
        for leecher, out in _by_file_and_link(lab, "peerless", torrents, seeder):
            for torrent in torrents:
                torrent.check(out, leecher.label)
            ends = [event for event in leecher.events(leecher.get) if event["event"] == "summary"]
            # The two find each other, and a last block may come to one from both sides.
            kept = sum(end["downloaded"] - end["wasted"] for end in ends)
            assert kept == asked_for, (asked_for, ends)


for _kind in NEWER:
    _with(_kind)
