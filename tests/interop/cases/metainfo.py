"""`info` and `create` against what other programs read in the same files (BEP 3, 12, 27)."""

import random
import re

import bencode
import payloads
import tools
from process import run
from runner import case

GENERATED = 50
FOLDERS = ["a", "b c", "ü", "日本", "x.y", "-", "0", "Ω~", "it's", "sp  ace"]


def _described_by_libtorrent(lab, paths):
    oracle = lab.client("libtorrent")
    return oracle.ask("describe", torrents=[str(path) for path in paths])


@case("metainfo/info-like-libtorrent", cost=4)
def info(lab):
    """Info hash, sizes, files, tiers and privacy of generated torrents of every shape."""
    rng = random.Random("shapes")
    torrents = []
    for number in range(GENERATED):
        piece = 16 * 1024 << rng.randrange(4)
        if rng.random() < 0.3:
            files = rng.randrange(1, 8 * piece)
        else:
            depths = [tuple(rng.choices(FOLDERS, k=rng.randrange(3))) for _ in range(8)]
            files = [
                (folder + (f"file {i}",), rng.randrange(2 * piece))
                for i, folder in enumerate(depths)
            ]
            files.append((("last",), 1))  # never nothing at all
        torrent = payloads.make(
            lab.directory, f"shape {number:02d}", files, piece, private=rng.random() < 0.2
        )
        urls = [f"http://tracker{n}.example:{6900 + n}/announce" for n in range(rng.randrange(4))]
        torrents.append(torrent.announcing(*urls))
    described = _described_by_libtorrent(lab, [t.path for t in torrents])
    peerless = lab.peerless()
    for torrent, theirs in zip(torrents, described, strict=True):
        ours = peerless.json("info", torrent.path).json
        mine = {
            "info_hash": ours["info_hash"],
            "name": ours["name"],
            "piece_length": ours["piece_length"],
            "pieces": ours["piece_count"],
            "size": ours["total_length"],
            "private": ours["private"],
            "files": [[file["path"], file["length"]] for file in ours["files"]],
            "trackers": [[tier, url] for tier, urls in enumerate(ours["trackers"]) for url in urls],
        }
        assert mine == theirs, f"{torrent.path.name}:\nours   {mine}\ntheirs {theirs}"
        assert ours["info_hash"] == torrent.info_hash


@case("metainfo/unsorted-keys", cost=1)
def unsorted(lab):
    """The info hash is that of the bytes in the file, whatever the order of the keys (BEP 3)."""
    torrent = payloads.make(lab.directory, "unsorted.bin", 50_000)
    info = bencode.encode(torrent.info)
    # `length` moved to the end.
    moved = b"6:lengthi50000e"
    assert info.count(moved) == 1
    info = info.replace(moved, b"")[:-1] + moved + b"e"
    path = lab.directory / "unsorted.torrent"
    path.write_bytes(b"d4:info" + info + b"e")
    [theirs] = _described_by_libtorrent(lab, [path])
    assert theirs["info_hash"] != torrent.info_hash
    assert lab.peerless().json("info", path).json["info_hash"] == theirs["info_hash"]


def _create(lab, peerless, path, *options):
    target = lab.directory / f"{path.name}.made.torrent"
    peerless.run("create", path, "-o", target, *options)
    return target


@case("metainfo/create", cost=3)
def create(lab):
    """What `create` writes, transmission-show, aria2 and libtorrent read alike."""
    peerless = lab.peerless()
    single = payloads.make(lab.directory, "created.bin", 1_000_000)
    tree = payloads.tree(lab.directory, "created tree")
    options = ["--tracker", "http://tracker.example/announce", "--comment", "made by hand", "--private"]
    for torrent in (single, tree):
        made = _create(lab, peerless, torrent.home / torrent.name, *options)
        ours = peerless.json("info", made).json["info_hash"]
        [theirs] = _described_by_libtorrent(lab, [made])
        assert theirs["info_hash"] == ours
        assert theirs["private"]
        assert theirs["trackers"] == [[0, "http://tracker.example/announce"]]
        assert sorted(map(tuple, theirs["files"])) == sorted(torrent.files)
        show = run([tools.program("transmission-show"), made], lab.directory, 10)
        assert re.search(r"Hash: ([0-9a-f]{40})", show.out)[1] == ours, show
        listing = run([tools.program("aria2c"), "--no-conf", "-S", made], lab.directory, 10)
        assert re.search(r"Info Hash: ([0-9a-f]{40})", listing.out)[1] == ours, listing


@case("metainfo/create-then-seed", cost=4)
def create_then_seed(lab):
    """A made torrent is of use: libtorrent seeds by it after a full check, and we fetch it."""
    peerless = lab.peerless()
    torrent = payloads.tree(lab.directory, "created tree")
    made = _create(lab, peerless, torrent.home / torrent.name, "--piece-length", "65536")
    peerless.run("check", made, torrent.home)
    seeder = lab.client("libtorrent")
    seeder.ask("add", torrent=str(made), directory=str(torrent.home))
    seeder.wait_complete(20)
    out = lab.folder("out")
    where = ["--bind", peerless.ip, "--no-tracker", "--peer", seeder.endpoint]
    peerless.run("get", made, "-o", out, *where)
    torrent.check(out, "get")
