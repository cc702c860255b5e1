"""What a second start knows: `seed` and `get` trust the state of the first and skip the check."""

import time

import payloads
from runner import case

SIZE = 192 << 20
PIECE = 1 << 20


@case("resume/seed", seconds=90, cost=3)
def seed(lab):
    torrent = payloads.make(lab.directory, "known.bin", SIZE, PIECE)
    seeder = lab.peerless()
    first = _seconds_until_served(lab, seeder, torrent)
    seeder.stop()
    second = _seconds_until_served(lab, seeder, torrent)
    assert second < max(1, first), f"first start {first:.2f} s, second {second:.2f} s"


def _seconds_until_served(lab, seeder, torrent):
    """From the start of `seed` until another instance has the last piece."""
    reader = lab.peerless()
    start = time.monotonic()
    seeder.seed([torrent], torrent.home)
    last = torrent.pieces - 1
    target = reader.home / "piece"
    reader.run("piece", torrent.path, last, "--peer", seeder.serving(torrent), "-o", target)
    seconds = time.monotonic() - start
    assert target.read_bytes() == torrent.piece(last)
    return seconds


@case("resume/get", cost=3)
def get(lab):
    """Complete already: the second `get` ends at once, with no peer and no byte."""
    torrent = payloads.tree(lab.directory, "complete")
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.download([torrent], out, [seeder])
    leecher.wait_complete(30)
    seeder.stop()
    leecher.download([torrent], out, extra=["--no-tracker"])
    leecher.wait_complete(10)
    assert leecher.summary()["downloaded"] == 0, leecher.summary()
    torrent.check(out, leecher.label)


@case("resume/damaged", cost=3)
def damaged(lab):
    """A file changed behind our back: `check` names it, `get` mends just that piece."""
    torrent = payloads.tree(lab.directory, "damaged")
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.download([torrent], out, [seeder])
    leecher.wait_complete(30)
    path, length = max(torrent.files, key=lambda file: file[1])
    with (out / path).open("r+b") as data:
        data.seek(length // 2)
        data.write(b"\x00damage\x00")
    leecher.download([torrent], out, [seeder])
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)
    assert leecher.summary()["downloaded"] <= 2 * torrent.piece_length, leecher.summary()
