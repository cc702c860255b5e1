"""Rows without a network: hashing what is there, and making a .torrent of it."""

import os

import bencode
from contenders import LIBTORRENT_CLIENT, Job, Libtorrent
from payload import GIB, MIB
from processes import Failed, Running, finish, machine_busy

RUN_SECONDS = 120
PIECE_BYTES = {"1M": MIB}


def check(bench, payload, name):
    """A client hashes the whole payload, which is in the page cache, and finds it complete."""
    contender, folder = bench.contenders[name], bench.folder()
    job = Job(payload, payload.data, folder / "check", bench.ip(), bench.port())
    return _measure(contender.check(job), job.home, contender.environment, payload)


def create(bench, payload, name, kind="v1"):
    """A client makes a .torrent with the right hashes; `kind` may be `v2` or `hybrid` too."""
    contender, folder = bench.contenders[name], bench.folder()
    made = folder / "made.torrent"
    if isinstance(contender, Libtorrent):
        piece_bytes = PIECE_BYTES[payload.piece]
        command = [contender.program, LIBTORRENT_CLIENT, "create", payload.source, made, piece_bytes, kind]
    else:
        command = [contender.program, "create", payload.source, "-o", made,
                   "--piece-length", payload.piece, "--format", kind, "--quiet"]
    figures = _measure(command, folder / "create", contender.environment, payload)
    torrent = bencode.decode(made.read_bytes())
    hashes = (torrent[b"info"].get(b"pieces"), torrent.get(b"piece layers"))
    # Of v2 there is no other oracle than that all agree.
    expected = (payload.info[b"pieces"], None) if kind == "v1" else payload.hashes.setdefault(kind, hashes)
    if hashes != expected:
        raise Failed(f"{name}: the hashes of its .torrent are not those of the payload's")
    return figures


def _measure(command, home, environment, payload):
    busy = machine_busy()
    process = Running(command, home, environment)
    try:
        finish([process], RUN_SECONDS)
    finally:
        process.stop()
    busy = machine_busy() - busy
    user, system = process.cpu()
    wall = process.end - process.start
    gib = payload.gib
    return {
        "wall": wall, "speed": gib * GIB / MIB / wall, "gib_per_core": gib / wall / os.cpu_count(),
        "user": user / gib, "system": system / gib, "cpu": (user + system) / gib,
        "others": max(busy - user - system, 0) / wall,
    }
