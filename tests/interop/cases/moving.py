"""`move` to another file system: kills and a full disk on the way, and real clients at the new place."""

import subprocess

import payloads
from clients.peerless import Exit
from deadline import until
from runner import case
from transfers import fetch


def _volume(lab, name, size):
    """A file system of its own."""
    where = lab.folder(name)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where]
    subprocess.run(mount, check=True)
    lab.at_end(lambda: subprocess.run(["umount", "--lazy", where], check=True))
    return where


def _downloaded(lab, torrent):
    """A client that has the torrent in `out`, and remembers it."""
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    client = lab.peerless()
    out = lab.folder("out")
    client.download([torrent], out, [seeder], extra=["--no-tracker"])
    client.wait_complete(40)
    return client, out, seeder


@case("moving/served-at-the-new-place", cost=5)
def served(lab):
    torrent = payloads.tree(lab.directory, "a tree that moves")
    client, out, seeder = _downloaded(lab, torrent)
    seeder.stop()
    volume = _volume(lab, "volume", "64m")
    client.run("move", torrent.path, volume / "new", "--from", out)
    torrent.check(volume / "new", client.label)
    assert not any(out.iterdir()), "the old place is empty"
    client.seed([torrent], volume / "new", "--no-tracker")
    fetch(lab, "libtorrent", [torrent], client, 30)


@case("moving/killed-on-the-way", cost=6)
def killed(lab):
    """kill -9 while copies are made: the old place is whole and goes on, and the move can be repeated."""
    torrent = payloads.make(lab.directory, "killed-on-the-way.bin", 96 << 20, 256 * 1024)
    client, out, _ = _downloaded(lab, torrent)
    volume = _volume(lab, "volume", "128m")
    for number, share in enumerate((0.01, 0.3, 0.8)):
        moving = client.start(f"move-{number}.log", "move", torrent.path, volume, "--from", out)

        def copied():
            done = sum(path.stat().st_blocks * 512 for path in volume.rglob("*"))
            return done >= share * torrent.size or not moving.running

        until(copied, 20, "some of the copy")
        moving.kill()
        torrent.check(out, client.label)
        client.download([torrent], out, extra=["--no-tracker"])
        client.wait_complete(20)
        assert client.summary()["downloaded"] == 0, client.summary()
        assert not (volume / torrent.name).exists(), "moved before the kill: the case is too small"
    client.run("move", torrent.path, volume, "--from", out)
    torrent.check(volume, client.label)
    assert {path.name for path in volume.iterdir()} == {torrent.name}, "nothing else is left"


@case("moving/full-disk", cost=3)
def full(lab):
    torrent = payloads.tree(lab.directory, "too much for the new place", False)
    client, out, _ = _downloaded(lab, torrent)
    volume = _volume(lab, "small", "256k")
    client.run("move", torrent.path, volume, "--from", out, code=Exit.DISK)
    assert not any(volume.iterdir()), "nothing is left at the new place"
    torrent.check(out, client.label)
    client.download([torrent], out, extra=["--no-tracker"])
    client.wait_complete(20)
    assert client.summary()["downloaded"] == 0, client.summary()
