"""Files chosen with `get`: they alone appear, the rest can come later, and what is there is served."""

import payloads
from deadline import until
from runner import case
from transfers import fetch

PIECE = 64 * 1024
FILES = [
    (("a.mkv",), 5 * PIECE + 1000),
    (("notes", "b.txt"), 3000),
    (("c.mkv",), 4 * PIECE + 5000),
    (("d.bin",), 9 * PIECE + 17),
]
"""Each border is in the middle of a piece."""


def _tree(lab, name):
    return payloads.make(lab.directory, name, FILES, PIECE)


def _found(out, torrent):
    """The files below the torrent's folder, and what lies beside it."""
    root = out / torrent.name
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return files, {path.name for path in out.iterdir()} - {torrent.name}


def _whole(out, torrent, name):
    path = f"{torrent.name}/{name}"
    return (out / path).read_bytes() == (torrent.home / path).read_bytes()


def _get(leecher, torrent, out, seeders, *extra):
    leecher.download([torrent], out, seeders, extra=["--no-tracker", *extra])
    leecher.wait_complete(40)
    return leecher.summary()


def _from(kind):
    @case(f"choosing/{kind}", cost=14 if kind == "transmission" else 4)
    def chosen(lab):
        torrent = _tree(lab, f"chosen from {kind}")
        seeder = lab.client(kind)
        seeder.seed([torrent], torrent.home)
        leecher = lab.peerless()
        out = lab.folder("out")
        first = _get(leecher, torrent, out, [seeder], "--files", "b.txt,c.*")
        files, beside = _found(out, torrent)
        assert files == {"notes/b.txt", "c.mkv"}, files
        assert len(beside) == 1, f"one part store and no more: {beside}"
        assert _whole(out, torrent, "notes/b.txt") and _whole(out, torrent, "c.mkv")
        assert first["downloaded"] <= 7 * PIECE, f"only the pieces that are needed: {first}"
        if kind == "transmission":
            return  # whose every download takes ten seconds
        rest = _get(leecher, torrent, out, [seeder], "--files", "*", "--first-last")
        torrent.check(out, leecher.label)
        assert _found(out, torrent)[1] == set(), "the part store is gone"
        assert first["downloaded"] + rest["downloaded"] == torrent.size, "nothing twice"


for _kind in ("libtorrent", "transmission", "aria2"):
    _from(_kind)


@case("choosing/partial-seeds", cost=1)
def partial_seeds(lab):
    """Two that have half each, shares of common pieces included, are a whole seed together."""
    torrent = _tree(lab, "two halves")
    source = lab.client("libtorrent")
    source.seed([torrent], torrent.home)
    halves = []
    for number, files in enumerate(("a.mkv,b.txt", "c.mkv,d.bin")):
        half = lab.peerless()
        out = lab.folder(f"half-{number}")
        _get(half, torrent, out, [source], "--files", files)
        half.seed([torrent], out, "--no-tracker")
        halves.append(half)
    source.stop()
    leecher = lab.client("libtorrent")
    out = leecher.home / "out"
    out.mkdir()
    leecher.download([torrent], out, halves)
    leecher.wait_complete(30)
    leecher.stop()
    torrent.check(out, leecher.label)


@case("choosing/sequential", cost=4)
def sequential(lab):
    """Killed on the way, what is there is the beginning."""
    torrent = payloads.make(lab.directory, "in-order.bin", 160 * PIECE, PIECE)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=3 << 20)
    leecher = lab.peerless()
    out = lab.folder("out")
    extra = ["--no-tracker", "--sequential"]
    leecher.download([torrent], out, [seeder], extra=extra)
    copy = out / "in-order.bin"

    def pieces():
        """Which pieces are there: a hole is all zeros, and no piece is."""
        data = copy.read_bytes() if copy.exists() else b""
        return [n for n in range(160) if any(data[n * PIECE : n * PIECE + 64])]

    until(lambda: len(pieces()) >= 60, 30, "60 pieces")
    leecher.kill()
    there = pieces()
    assert len(there) < 150, "complete before the kill: the case is too small"
    # What was hashed out of turn is at most what the pool and the window held.
    assert there[-1] - len(there) < 24, f"not in order: {there}"
    leecher.download([torrent], out, [seeder], extra=extra)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)


@case("choosing/left-at-the-tracker", cost=2)
def left_at_the_tracker(lab):
    """What is left is what was chosen; once that is there it is the rest, as zero would be a whole seed
    (BEP 3, 21)."""
    torrent = _tree(lab, "a part of it")
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    tracker = lab.plain_tracker
    tracker.introduce([torrent], [seeder])
    leecher = lab.peerless()
    tracked = torrent.announcing(tracker.url)
    leecher.download([tracked], lab.folder("out"), extra=["--files", "b.txt"])
    leecher.wait_complete(30)
    said = [a for a in tracker.announces if a["port"] == str(leecher.port)]
    assert 3000 <= int(said[0]["left"]) <= 2 * PIECE, said
    assert int(said[-1]["left"]) == torrent.size - int(said[-1]["downloaded"]), said
    assert "completed" not in [a.get("event") for a in said], said
