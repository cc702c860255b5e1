"""Disks that fill up, and payloads of sizes that break things."""

import mounts
import payloads
from deadline import until
from runner import case

SEEN_SECONDS = 20


@case("storage/disk-full", cost=4)
def disk_full(lab):
    """The download waits, says for what, and goes on when there is space."""
    torrent = payloads.make(lab.directory, "large.bin", 6_000_000, 256 * 1024)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    out = lab.folder("small-disk")
    mounts.run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", out)
    lab.at_end(lambda: mounts.run("umount", "--lazy", out))
    leecher = lab.peerless()
    leecher.download([torrent], out, [seeder], extra=["--no-tracker"])
    said = leecher.wait_for_event(leecher.get, "storage_error", SEEN_SECONDS)
    while "no space" not in json_text(said):  # the first may be the warning at the start
        said = _later(leecher, "storage_error", said)
    assert str(out) in json_text(said), said
    assert leecher.get.running
    mounts.run("mount", "-o", "remount,size=16m", out)
    leecher.wait_for_event(leecher.get, "storage_recovered", SEEN_SECONDS)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)


def json_text(event):
    return str(event.get("message", ""))


def _later(leecher, name, before):
    def next_one():
        events = [event for event in leecher.events(leecher.get) if event["event"] == name]
        return events[events.index(before) + 1 :]

    return until(next_one, SEEN_SECONDS, f"another {name}")[0]


@case("storage/200000-files", seconds=150, cost=40)
def many_files(lab):
    """200,000 small files in 200 folders: made, fetched from a foreign client, and fetched again."""
    home = lab.folder("memory")  # of the foreign seeder's 200,000 small reads, not of a disk
    mounts.run("mount", "-t", "tmpfs", "tmpfs", home)
    lab.at_end(lambda: mounts.run("umount", "--lazy", home))
    files = [((f"{n % 200}", f"{n}"), 1 + n % 50) for n in range(200_000)]
    torrent = payloads.make(home, "crowd", files, piece_length=1 << 18)
    ours = lab.peerless()
    ours.run("create", home / "data" / "crowd", "-o", home / "made.torrent", seconds=60)
    ours.run("check", home / "made.torrent", home / "data", seconds=60)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    out = home / "out"
    for _ in range(2):  # the second time nothing is missing
        ours.run("get", torrent.path, "-o", out, "--peer", seeder.endpoint, "--no-tracker", seconds=90)
    torrent.check(out, ours.label)


HASHED_SECONDS = 100
"""For four gigabytes, by whoever."""


@case("storage/beyond-4-gib", seconds=150, cost=7)
def large(lab):
    """Offsets past 32 bits: made by us, checked by both, its end fetched from a foreign client."""
    size = (4 << 30) + (37 << 20) + 12_345
    tail = payloads.content("tail", 50_000_000)
    path = lab.folder("data") / "large.bin"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - len(tail))
        file.write(tail)
    ours = lab.peerless()
    target = lab.directory / "large.torrent"
    ours.run("create", path, "-o", target, "--piece-length", "16M", seconds=HASHED_SECONDS)
    torrent = payloads.existing(target, path.parent)
    ours.run("check", target, path.parent, seconds=HASHED_SECONDS)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], path.parent, seconds=HASHED_SECONDS)
    last = torrent.pieces - 1
    piece = ours.home / "piece"
    ours.run("piece", target, last, "--peer", seeder.endpoint, "--no-tracker", "-o", piece)
    length = size - last * (16 << 20)
    assert piece.read_bytes() == tail[-length:]
