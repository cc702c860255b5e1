"""Power cuts and disks that lose what they were given: an ext4 disk that stops from one moment to the
next, with nothing written that was not on it already.

`EXT4_IOC_SHUTDOWN` does to a mounted file system what a power cut does: the journal ends where it was,
and whatever the kernel still had in memory never arrives. Mounted again, it is what a disk has after the
cut. Another boot is one with another name, as far as a program can tell.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import signal
import sqlite3
import struct
import uuid

import mounts
import payloads
import tools
from deadline import until
from runner import case

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_THE_JOURNAL = 2
BOOT_ID = "/proc/sys/kernel/random/boot_id"

SIZE = 24 << 20
PIECE = 1 << 18
RATE = 6 << 20

TRIES = 3
"""The kernel may write at any time what it has in memory, and then a cut loses nothing."""


class Disk:
    """An ext4 disk of its own."""

    def __init__(self, lab, name="disk"):
        self.at, self.image = lab.folder(name), lab.directory / f"{name}.img"
        mounts.make_ext4(self.image, 96 << 20)
        mounts.mount_ext4(self.image, self.at)
        lab.at_end(lambda: mounts.take_off(self.at))

    def stop(self):
        """From now on nothing gets to it."""
        folder = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_THE_JOURNAL))
        finally:
            os.close(folder)

    def again(self):
        """What is on it, after the journal was looked at."""
        mounts.run("umount", self.at)
        mounts.mount_ext4(self.image, self.at)

    def commit(self):
        """Brings lengths and times to the disk, and no data of other files: those have no place yet."""
        with (self.at / "other").open("wb") as other:
            other.write(b"x")
            other.flush()
            os.fsync(other.fileno())

    @staticmethod
    def takes(folder):
        """Brings the files of a folder to the disk."""
        for file in folder.iterdir():
            opened = os.open(file, os.O_RDONLY)
            os.fsync(opened)
            os.close(opened)


def _boots(lab):
    """Another boot: what a program asks for its name says another."""
    name = lab.directory / "boot_id"
    mounts.take_off(BOOT_ID)
    name.write_text(f"{uuid.uuid4()}\n")
    mounts.run("mount", "--bind", name, BOOT_ID)


def _recorded(state):
    """The pieces that peerless has written, as far as it remembers."""
    with contextlib.closing(sqlite3.connect(f"file:{state}/state.sqlite?mode=ro", uri=True)) as record:
        rows = record.execute("SELECT written FROM torrents").fetchall()
    bits = "".join(f"{byte:08b}" for (written,) in rows for byte in written)
    return {piece for piece, bit in enumerate(bits) if bit == "1"}


def _pieces(torrent, at):
    """Those of the torrent that whoever reads the file gets."""
    file = at / torrent.name
    if not file.exists():
        return set()
    with file.open("rb") as ours, (torrent.home / torrent.name).open("rb") as right:
        return {piece for piece in range(SIZE // PIECE) if ours.read(PIECE) == right.read(PIECE)}


@case("crash/power-cut", seconds=120, cost=15)
def power_cut(lab):
    """Three cuts in the middle of a download, and one after a stop in good order, which costs nothing.
    What is believed afterwards is no more than what is on the disk, also where a record of more is."""
    torrent = payloads.make(lab.directory, "cut.bin", SIZE, PIECE)
    disk = Disk(lab)
    lab.at_end(lambda: mounts.take_off(BOOT_ID))
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=RATE)
    leecher = lab.peerless()
    state = disk.at / "state"
    words = ["--no-tracker", "--state-dir", state]
    checks = 0

    def begins():
        nonlocal checks
        checks += 1
        leecher.download([torrent], disk.at, [seeder], extra=words)
        until(lambda: len(checked()) == checks, 20, f"check {checks}")
        return uploaded()

    def checked():
        return [event for event in leecher.events(leecher.get) if event["event"] == "checked"]

    def uploaded():
        return seeder.status()[torrent.info_hash]["payload_uploaded"]

    kept, lost = set(), set()
    for number in range(3):
        before = begins()
        assert checked()[-1]["resumed"] <= len(kept) * PIECE, (checked(), kept)
        until(lambda: uploaded() >= before + SIZE // 6, 30, f"data before cut {number}")
        if number == 2:
            until(lambda: _recorded(state) - kept, 10, "a record of more pieces")
            disk.takes(state)
        had = _pieces(torrent, disk.at)
        if number:
            disk.commit()
        disk.stop()
        leecher.get.kill()
        disk.again()
        _boots(lab)
        kept = _pieces(torrent, disk.at)
        lost |= had - kept
    assert lost, "whatever was cut off, the kernel had written all before"
    recorded = _recorded(shutil.copytree(state, lab.directory / "remembered"))
    assert recorded - kept, "nothing is remembered that is not there"
    before = begins()
    assert checked()[-1]["resumed"] <= len(kept) * PIECE, (checked(), kept)
    # Of what was sent, some pieces are not whole.
    until(lambda: uploaded() >= before + SIZE // 4 + 6 * PIECE, 30, "data before the stop")
    leecher.get.send(signal.SIGINT)
    leecher.get.ended()
    disk.stop()
    disk.again()
    _boots(lab)
    begins()
    assert checked()[-1]["hashed"] == 0, checked()
    assert checked()[-1]["resumed"] >= SIZE // 4, checked()
    leecher.wait_complete(60)
    torrent.check(disk.at, leecher.label)


def _only_data_is_lost(lab, ends):
    """Times and lengths are on the disk as the record has them, and data is not. `ends` is what becomes of
    the download as the disk stops."""
    torrent = payloads.make(lab.directory, "lost.bin", SIZE, PIECE)
    leecher = lab.peerless()
    for number in range(TRIES):
        disk = Disk(lab, f"disk-{number}")
        words = ["--no-tracker", "--state-dir", lab.folder(f"state-{number}")]
        had = _half(lab, torrent, leecher, disk, words)
        modified = (disk.at / torrent.name).stat().st_mtime_ns
        disk.commit()
        disk.stop()
        ends(leecher)
        disk.again()
        assert (disk.at / torrent.name).stat().st_mtime_ns == modified, "the case is about data alone"
        if had - _pieces(torrent, disk.at):
            break
    else:
        raise AssertionError(f"{TRIES} times the kernel had written all before the disk stopped")
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    leecher.download([torrent], disk.at, [seeder], extra=words)
    leecher.wait_complete(40)
    torrent.check(disk.at, leecher.label)


def _half(lab, torrent, leecher, disk, words):
    """Fetches half of it, and gives the pieces; nothing more comes."""
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=RATE)
    leecher.download([torrent], disk.at, [seeder], extra=words)
    file = disk.at / torrent.name
    until(lambda: file.exists() and file.stat().st_blocks > SIZE // 1024, 30, "half of it")
    seeder.stop()
    # So that the disk has the file's last time.
    quiet = [None]

    def at_rest():
        before, quiet[0] = quiet[0], file.stat().st_mtime_ns
        return before == quiet[0]

    until(at_rest, 20, "the last piece", interval=1)
    had = _pieces(torrent, disk.at)
    assert had, "nothing came"
    return had


@case("crash/power-cut-loses-data-alone", seconds=90, cost=8)
def cut_loses_data(lab):
    lab.at_end(lambda: mounts.take_off(BOOT_ID))

    def ends(leecher):
        leecher.get.kill()
        _boots(lab)

    _only_data_is_lost(lab, ends)


@case("faults/disk-loses-what-it-was-given", seconds=90, cost=8)
def disk_loses_data(lab):
    """In the same boot, whose kernel has not what it took."""

    def ends(leecher):
        leecher.get.send(signal.SIGINT)
        leecher.get.ended()

    _only_data_is_lost(lab, ends)


@case("faults/disk-is-unplugged-and-back", seconds=90, cost=8)
def unplugged(lab):
    """Killed as well, so that nobody can say that the disk did not take it."""
    # Before, mounts have no names of their own, and nothing tells this from a kill.
    release = platform.release()
    if tuple(map(int, release.split("-")[0].split(".")[:2])) < (6, 8):
        raise tools.Missing(f"Linux {release} runs here; the case needs Linux 6.8")

    def ends(leecher):
        leecher.get.kill()

    _only_data_is_lost(lab, ends)
