"""Disks that go away, and files that change behind our back, on mounts of their own.

The worker has a mount namespace: what is mounted here is seen by nobody else. A volume is a small
tmpfs at one place that is mounted again (`--bind`) where it is used, so that it can go and come
back with all that is on it, as a disk does.
"""

import errno
import os
import re
import subprocess
import threading

import mounts
import payloads
import tools
from clients.peerless import Exit
from deadline import until
from process import Process
from runner import case

SEEN_SECONDS = 25
"""A peer that was not there is dialled again after ten."""


class Volume:
    def __init__(self, lab, name, size):
        self.disk, self.at = lab.folder(f"{name}-disk"), lab.folder(name)
        mounts.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.disk)
        lab.at_end(lambda: mounts.run("umount", "--lazy", self.disk))
        lab.at_end(lambda: mounts.take_off(self.at))
        self.mount()

    def mount(self, *options):
        mounts.run("mount", "--bind", self.disk, self.at)
        if options:
            mounts.run("mount", "-o", ",".join(("remount", "bind", *options)), self.at)

    def unmount(self):
        mounts.run("umount", "--lazy", self.at)


def _said(client, process, name):
    return [event for event in client.events(process) if event["event"] == name]


@case("faults/volume-goes-and-comes-back", seconds=90, cost=4)
def goes_and_comes_back(lab):
    """The download waits for its volume, leaves the empty mount point alone, and goes on."""
    torrent = payloads.make(lab.directory, "away.bin", 3_000_000, 64 * 1024)
    volume = Volume(lab, "volume", "16m")
    seeder, leecher = lab.peerless(), lab.peerless()
    # The torrent is known and its files made before the volume goes; no data has come yet.
    leecher.download([torrent], volume.at, extra=["--no-tracker", "--peer", f"{seeder.ip}:{lab.port() + 1}"])
    leecher.wait_for_event(leecher.get, "checked", SEEN_SECONDS)
    volume.unmount()
    seeder.seed([torrent], torrent.home)
    said = leecher.wait_for_event(leecher.get, "storage_error", SEEN_SECONDS)
    assert "is gone" in said["message"], said
    assert os.listdir(volume.at) == [], "something was written to the empty mount point"
    volume.mount()
    leecher.wait_for_event(leecher.get, "storage_recovered", SEEN_SECONDS)
    leecher.wait_complete(30)
    torrent.check(volume.at, leecher.label)


@case("faults/volume-is-not-there-at-the-start", cost=3)
def not_there(lab):
    """What was on it is not fetched again: `get` says what is missing, and believes it once it is back."""
    torrent = payloads.make(lab.directory, "kept.bin", 3_000_000, 64 * 1024)
    volume = Volume(lab, "volume", "16m")
    seeder, leecher = lab.peerless(), lab.peerless()
    seeder.seed([torrent], torrent.home)
    arguments = ["get", torrent.path, "-o", volume.at, "--no-tracker", "--peer", seeder.serving(torrent)]
    leecher.run(*arguments)
    volume.unmount()
    done = leecher.run(*arguments, code=Exit.DISK)
    assert "no longer holds" in done.err, done
    assert os.listdir(volume.at) == [], "something was written to the empty mount point"
    volume.mount()
    leecher.download([torrent], volume.at, extra=["--no-tracker"])
    leecher.wait_complete(20)
    assert leecher.summary()["downloaded"] == 0, leecher.summary()
    torrent.check(volume.at, leecher.label)


@case("faults/read-only", cost=3)
def read_only(lab):
    """Data on a read-only volume is served; nothing can be fetched into it, and that is said at once."""
    torrent = payloads.make(lab.directory, "fixed.bin", 1_000_000, 64 * 1024)
    volume = Volume(lab, "volume", "16m")
    (volume.at / torrent.name).write_bytes((torrent.home / torrent.name).read_bytes())
    volume.unmount()
    volume.mount("ro")
    seeder, leecher = lab.peerless(), lab.peerless()
    seeder.seed([torrent], volume.at)
    get = ["get", torrent.path, "--no-tracker", "--peer", seeder.serving(torrent), "-o"]
    out = lab.folder("out")
    leecher.run(*get, out)
    torrent.check(out, leecher.label)
    folder = volume.at / "elsewhere"
    done = leecher.run(*get, folder, code=Exit.DISK)
    assert "read-only" in done.err, done


@case("faults/state-disk-full", seconds=90, cost=2)
def state_disk_full(lab):
    """The state can't be saved: the download completes all the same, and the next start hashes."""
    torrent = payloads.make(lab.directory, "stateless.bin", 3_000_000, 64 * 1024)
    volume = Volume(lab, "state", "1m")
    seeder, leecher = lab.peerless(), lab.peerless()
    out = lab.folder("out")
    state = ["--no-tracker", "--state-dir", volume.at]
    late = ["--peer", f"{seeder.ip}:{lab.port() + 1}"]
    leecher.download([torrent], out, extra=[*state, *late])
    leecher.wait_for_event(leecher.get, "checked", SEEN_SECONDS)
    filler = os.open(volume.at / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, bytes(4096)):
            pass
    except OSError as full:
        assert full.errno == errno.ENOSPC, full
    finally:
        os.close(filler)
    seeder.seed([torrent], torrent.home)
    leecher.wait_complete(60)
    torrent.check(out, leecher.label)
    leecher.download([torrent], out, extra=state)
    leecher.wait_complete(20)
    assert leecher.summary()["downloaded"] == 0, leecher.summary()


def _seeding_unopened(lab, torrent, home):
    """A seeder that trusts what it remembers, so that it has opened nothing yet."""
    seeder = lab.peerless()
    seeder.seed([torrent], home)
    seeder.stop()
    seeder.seed([torrent], home)
    return seeder


def _struck(lab, strike, after):
    """Seeds, lets `strike` have the file, and sees what a leecher gets: nothing, and one error said."""
    torrent = payloads.make(lab.directory, "struck.bin", 1_000_000, 16 * 1024)
    home = lab.folder("home")
    path = home / torrent.name
    path.write_bytes((torrent.home / torrent.name).read_bytes())
    seeder = _seeding_unopened(lab, torrent, home)
    strike(path)
    leecher = lab.peerless()
    leecher.download([torrent], lab.folder("out"), [seeder], extra=["--no-tracker"])
    process = seeder._seeds[torrent.info_hash][0]
    said = seeder.wait_for_event(process, "storage_error", SEEN_SECONDS)
    assert torrent.name in said["message"] and after in said["message"], said
    # Every piece was asked for, or soon will be; the file is spoken of once.
    until(lambda: _said(leecher, leecher.get, "peer_connected"), SEEN_SECONDS, "the leecher's peer")
    assert len(_said(seeder, process, "storage_error")) == 1, _said(seeder, process, "storage_error")
    assert not _said(leecher, leecher.get, "peer_banned"), "it sent bytes that are not the torrent's"
    # Another seeder completes it.
    honest = lab.peerless()
    honest.seed([torrent], torrent.home)
    leecher.stop()
    leecher.download([torrent], lab.folder("out"), [seeder, honest], extra=["--no-tracker"])
    leecher.wait_complete(40)
    torrent.check(lab.folder("out"), leecher.label)
    assert len(_said(seeder, process, "storage_error")) == 1, _said(seeder, process, "storage_error")
    assert process.running


@case("faults/seeded-file-deleted", cost=1)
def deleted(lab):
    _struck(lab, lambda path: path.unlink(), "missing")


@case("faults/seeded-file-truncated", cost=1)
def truncated(lab):
    _struck(lab, lambda path: os.truncate(path, 0), "cut short")


@case("faults/seeded-file-becomes-a-link", cost=1)
def linked(lab):
    """What the link leads to is as long as the torrent's file, and nobody's business."""
    secret = lab.directory / "secret"

    def strike(path):
        secret.write_bytes(bytes(path.stat().st_size))
        path.unlink()
        path.symlink_to(secret)

    _struck(lab, strike, "symbolic link")


class HangingDisk:
    """An ext4 disk that can be frozen: whoever writes to it waits, as for one that is worn out or goes
    to sleep."""

    THAWS_SECONDS = 40
    """By itself: nothing that waits for a frozen disk can be killed."""

    def __init__(self, lab):
        self.at, image = lab.folder("slow"), lab.directory / "slow.img"
        mounts.make_ext4(image, 96 << 20)
        mounts.mount_ext4(image, self.at)
        lab.at_end(lambda: mounts.run("umount", "--lazy", self.at))

    def freeze(self, lab):
        mounts.run("fsfreeze", "--freeze", self.at)
        self.timer = threading.Timer(self.THAWS_SECONDS, self.thaw)
        self.timer.start()
        lab.at_end(self.thaw)

    def thaw(self):
        self.timer.cancel()
        # The second time there is nothing to thaw.
        subprocess.run([tools.program("fsfreeze"), "--unfreeze", self.at], capture_output=True)


@case("faults/slow-disk-beside-a-fast-one", seconds=120, cost=20)
def slow_disk(lab):
    """In one session: the other disk's torrent keeps nine tenths of its speed, and the session answers."""
    fast = payloads.make(lab.directory, "fast.bin", 24 << 20, 1 << 18)
    slow = payloads.make(lab.directory, "slow.bin", 48 << 20, 1 << 18)
    # The seeder is the bottleneck, so that the machine's load is not measured.
    seeder = lab.client("libtorrent")
    seeder.seed([fast], fast.home, upload_limit=4 << 20)
    seeder.seed([slow], slow.home, upload_limit=6 << 20)

    def begin(label, *folders):
        words = [word for torrent, at in folders for word in (torrent.path, at, seeder.endpoint)]
        return Process([tools.file(tools.ONE_SESSION), lab.ip(), *words], lab.folder(label), label)

    def completed(process, torrent, seconds):
        complete = re.compile(rf"^([\d.]+) s: {torrent.name} is complete\n.* within ([\d.]+) ms$", re.M)

        def said():
            return complete.search(process.log.read_text()) or not process.check_running()

        return map(float, until(said, seconds, f"{torrent.name} to be complete").groups())

    volume = Volume(lab, "fast", "64m")
    alone = begin("alone", (fast, volume.at))
    took_alone, _ = completed(alone, fast, 30)
    alone.ended()
    (volume.at / fast.name).unlink()
    disk = HangingDisk(lab)
    beside = begin("beside", (fast, volume.at), (slow, disk.at))
    lab.at_end(beside.stop)
    file = disk.at / slow.name
    until(lambda: file.exists() and file.stat().st_blocks, 20, "the slow disk to be written to")
    disk.freeze(lab)
    took_beside, answered = completed(beside, fast, 30)
    assert beside.log.read_text().count("is complete") == 1, "the other disk did not hang"
    disk.thaw()
    completed(beside, slow, 30)
    for torrent, at in ((fast, volume.at), (slow, disk.at)):
        torrent.check(at, "one_session")
    assert took_alone / took_beside >= 0.9, f"{took_beside} s beside a slow disk, {took_alone} s alone"
    assert answered <= 100, f"one answer in a hundred took more than {answered} ms"
