"""Power cuts and disks that lose what they were given: an ext4 disk that stops from one moment to the
next, with nothing written that was not on it already.

`EXT4_IOC_SHUTDOWN` does to a mounted file system what a power cut does: the journal ends where it was,
and whatever the kernel still had in memory never arrives. Mounted again, it is what a disk has after the
cut. Another boot is one with another name, as far as a program can tell.
"""

import fcntl
import os
import platform
import signal
import struct
import subprocess
import uuid

import payloads
from deadline import until
from runner import case

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_THE_JOURNAL = 2
BOOT_ID = "/proc/sys/kernel/random/boot_id"

SIZE = 24 << 20
PIECE = 1 << 18
RATE = 6 << 20


def _run(*argv):
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)


class Disk:
    """An ext4 disk of its own."""

    def __init__(self, lab):
        self.at, self.image = lab.folder("disk"), lab.directory / "disk.img"
        with self.image.open("wb") as file:
            file.truncate(96 << 20)
        _run("mkfs.ext4", "-q", self.image)
        self.mount()
        lab.at_end(self.unmount)

    def mount(self):
        _run("mount", "-o", "loop", self.image, self.at)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.at], capture_output=True)

    def stop(self):
        """From now on nothing gets to it."""
        folder = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_THE_JOURNAL))
        finally:
            os.close(folder)

    def again(self):
        """What is on it, after the journal was looked at."""
        _run("umount", self.at)
        self.mount()

    def commit(self):
        """Brings lengths and times to the disk, and no data of other files: those have no place yet."""
        with (self.at / "other").open("wb") as other:
            other.write(b"x")
            other.flush()
            os.fsync(other.fileno())


def _boots(lab):
    """Another boot: what a program asks for its name says another."""
    name = lab.directory / "boot_id"
    subprocess.run(["umount", BOOT_ID], capture_output=True)
    name.write_text(f"{uuid.uuid4()}\n")
    _run("mount", "--bind", name, BOOT_ID)


@case("crash/power-cut", seconds=120, cost=15)
def power_cut(lab):
    """Three cuts in the middle of a download, and one after a stop in good order, which costs nothing."""
    torrent = payloads.make(lab.directory, "cut.bin", SIZE, PIECE)
    disk = Disk(lab)
    lab.at_end(lambda: subprocess.run(["umount", BOOT_ID], capture_output=True))
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=RATE)
    leecher = lab.peerless()
    words = ["--no-tracker", "--state-dir", disk.at / "state"]

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

    for number in range(3):
        before = begins()
        until(lambda: uploaded() >= before + SIZE // 6, 30, f"data before cut {number}")
        if number % 2:
            disk.commit()
        disk.stop()
        leecher.get.kill()
        disk.again()
        _boots(lab)
    before = begins()
    until(lambda: uploaded() >= before + SIZE // 4, 30, "data before the stop")
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
    disk = Disk(lab)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=RATE)
    leecher = lab.peerless()
    words = ["--no-tracker", "--state-dir", lab.folder("state")]
    leecher.download([torrent], disk.at, [seeder], extra=words)
    file = disk.at / torrent.name
    until(lambda: file.exists() and file.stat().st_blocks > SIZE // 1024, 30, "half of it")
    seeder.stop()
    # Nothing more comes, so that the disk has the file's last time.
    quiet = [None]

    def at_rest():
        before, quiet[0] = quiet[0], file.stat().st_mtime_ns
        return before == quiet[0]

    until(at_rest, 20, "the last piece", interval=1)
    disk.commit()
    disk.stop()
    ends(leecher)
    disk.again()
    assert file.stat().st_mtime_ns == quiet[0], "the case is to be about data alone"
    again = lab.client("libtorrent")
    again.seed([torrent], torrent.home)
    leecher.download([torrent], disk.at, [again], extra=words)
    leecher.wait_complete(40)
    torrent.check(disk.at, leecher.label)


@case("crash/power-cut-loses-data-alone", seconds=60, cost=8)
def cut_loses_data(lab):
    lab.at_end(lambda: subprocess.run(["umount", BOOT_ID], capture_output=True))

    def ends(leecher):
        leecher.get.kill()
        _boots(lab)

    _only_data_is_lost(lab, ends)


@case("faults/disk-loses-what-it-was-given", seconds=60, cost=8)
def disk_loses_data(lab):
    """In the same boot, whose kernel has not what it took."""

    def ends(leecher):
        leecher.get.send(signal.SIGINT)
        leecher.get.ended()

    _only_data_is_lost(lab, ends)


@case("faults/disk-is-unplugged-and-back", seconds=60, cost=8)
def unplugged(lab):
    """Killed as well, so that nobody can say that the disk did not take it."""
    if tuple(map(int, platform.release().split(".")[:2])) < (6, 8):
        return  # mounts have no names of their own there

    def ends(leecher):
        leecher.get.kill()

    _only_data_is_lost(lab, ends)
