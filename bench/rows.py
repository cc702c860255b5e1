"""The rows: what each moves or hashes, between whom, what it shows, and the goal beside it."""

from dataclasses import dataclass
from functools import partial
from typing import Callable

from connections import Parcels, connections
from contenders import LibtorrentUtp, PeerlessEncrypted, PeerlessShaNi, PeerlessUtp
from idle import ManyTorrents, idle
from offline import check, create
from payload import Payload
from surroundings import memory_mib
from table import Goal
from transfer import transfer
from web import from_nginx

SHA_NI = PeerlessShaNi.name
ENCRYPTED = PeerlessEncrypted.name
UTP, UTP_RIVAL = PeerlessUtp.name, LibtorrentUtp.name
LEECHERS = ("libtorrent", "aria2", "rqbit")
FETCH = ("speed", "cpu", "user", "system", "anon", "others")
SERVE = ("speed", "seed_cpu", "seed_user", "seed_system", "others")
SMALL_FILE_BYTES = 64 * 1024
MANY, FEW = "1,000 connections", "16 connections"
BUDGET_MIB = min(max(memory_mib() // 16, 16), 256)
"""What peerless holds of received data at most, unasked: see `engine/settings.rs`."""


@dataclass(frozen=True)
class Row:
    about: str
    labels: tuple  # who takes part: a name of a client each, or what is told apart of the first in `needs`
    run: Callable  # (bench, payload, label) -> figures
    metrics: tuple
    ratios: tuple
    goals: tuple
    mib: int = 0  # of the payload
    needs: tuple = ()  # clients without which nobody can run it
    piece: str = "1M"
    kind: str = "v1"  # or `v2`
    file_bytes: int | None = None
    many_torrents: bool = False
    parcels: bool = False
    on_disk: bool = False  # files are where `--disk` says
    base: str = "peerless"  # the label that others are compared with

    def payload(self, home, bench, mib, torrents):
        home.mkdir()
        if self.many_torrents:
            return ManyTorrents(home, torrents)
        program = bench.contenders["peerless"].program
        if self.parcels:
            return Parcels(home, program, mib=mib or self.mib, tracker=bench.tracker.url)
        return Payload(home, program, mib=mib or self.mib, piece=self.piece, tracker=bench.tracker.url,
                       file_bytes=self.file_bytes, kind=self.kind)


def fetch(about, goals, *, mib, labels=("peerless", *LEECHERS), seeders=1, leechers=1, tracked=False, linked=False,
          metrics=FETCH, ratios=("cpu", "wall"), **options):
    """A row of each client as the leecher of libtorrent."""

    def run(bench, payload, label):
        return transfer(bench, payload, "libtorrent", label, seeders=seeders, leechers=leechers,
                        tracked=tracked, linked=linked)

    return Row(about, labels, run, metrics, ratios, goals, mib, ("libtorrent",), **options)


def ahead():
    """Ahead of every rival in CPU, none slower than the best in wall time."""
    return (Goal("cpu", 1, LEECHERS), Goal("wall", 1, LEECHERS))


SHA1_GOALS = (
    Goal("gib_per_core", 2, least=True),
    Goal("gib_per_core", 1.2, ours=SHA_NI, least=True),
    Goal("speed", 4, ("libtorrent",), least=True),
)


def serve(about, **options):
    """A row of 1 GiB from each client to libtorrent."""
    return Row(
        about,
        ("peerless", "libtorrent", "rtorrent", "rqbit", "aria2"),
        lambda bench, payload, label: transfer(bench, payload, label, "libtorrent"),
        SERVE,
        ("seed_cpu", "wall"),
        (Goal("seed_cpu", 0.5, ("rtorrent",)), Goal("seed_cpu", 0.35, ("libtorrent",))),
        1024,
        ("libtorrent",),
        **options,
    )


def hashing(what, measure, rivals, goals=SHA1_GOALS, **options):
    """A row of 2 GiB through the hash, also with the kernel that most processors have."""
    return Row(
        what,
        ("peerless", SHA_NI, *rivals),
        measure,
        ("speed", "gib_per_core", "cpu", "user", "system", "others"),
        ("cpu", "wall"),
        goals,
        2048,
        **options,
    )


ROWS = {
    "download": fetch(
        "one libtorrent seeder to each client",
        (
            Goal("cpu", 0.4, ("libtorrent",)),
            Goal("cpu", 0.6, ("aria2",)),
            Goal("wall", 1, ("libtorrent",)),
            Goal("cpu", 0.7, ("libtorrent",), ours=SHA_NI),
            Goal("cpu", 1, ("aria2",), ours=SHA_NI),
        ),
        mib=1024,
        labels=("peerless", SHA_NI, *LEECHERS),
    ),
    "download-disk": fetch(
        "the same, with the files on a disk",
        (Goal("cpu", 0.4, ("libtorrent",)), Goal("wall", 1, ("libtorrent",))),
        mib=1024, on_disk=True,
    ),
    "web-seed": Row(
        "one nginx to each client, and no peer",
        ("peerless", "libtorrent", "aria2"),
        from_nginx,
        FETCH,
        ("cpu", "wall"),
        (Goal("cpu", 1, ("libtorrent", "aria2")), Goal("wall", 1, ("libtorrent", "aria2"))),
        1024,
    ),
    "pair": Row(
        "each client from one of its own kind",
        ("peerless", "libtorrent", "rqbit"),
        lambda bench, payload, label: transfer(bench, payload, label, label),
        ("speed", "cpu", "seed_cpu", "others"),
        ("cpu", "wall"),
        (
            Goal("speed", 2, ("libtorrent",), least=True),
            Goal("speed", 3, ("rqbit",), least=True),
        ),
        1024,
    ),
    "encryption": Row(
        "peerless from peerless, in the open, and with an encrypted handshake and plaintext behind it",
        ("peerless", ENCRYPTED),
        lambda bench, payload, label: transfer(bench, payload, label, label),
        ("speed", "cpu", "seed_cpu", "others"),
        ("cpu", "wall"),
        (
            Goal("cpu", 1.05, ("peerless",), ours=ENCRYPTED),
            Goal("seed_cpu", 1.05, ("peerless",), ours=ENCRYPTED),
        ),
        1024,
    ),
    "utp": Row(
        "each client from one of its own kind, by uTP alone",
        (UTP, UTP_RIVAL),
        lambda bench, payload, label: transfer(bench, payload, label, label),
        ("speed", "cpu", "seed_cpu", "others"),
        ("cpu", "wall"),
        (
            Goal("speed", 2, (UTP_RIVAL,), ours=UTP, least=True),
            Goal("cpu", 0.5, (UTP_RIVAL,), ours=UTP),
            Goal("seed_cpu", 0.5, (UTP_RIVAL,), ours=UTP),
        ),
        512,
        ("libtorrent",),
        base=UTP,
    ),
    "seed": serve("each client to one libtorrent leecher"),
    "seed-disk": serve("the same, of files that are in the page cache of a disk", on_disk=True),
    "check": hashing(
        "hashing what is in the page cache, from the start of a process to its end", check, LEECHERS
    ),
    "check-v2": hashing(
        "hashing a v2 torrent's data that is in the page cache", check, ("libtorrent",),
        (Goal("speed", 2, ("libtorrent",), least=True),), kind="v2",
    ),
    "create": hashing("making a .torrent of what is in the page cache", create, ("libtorrent",)),
    "create-v2": hashing(
        "making a .torrent of v2", partial(create, kind="v2"), ("libtorrent",),
        (Goal("speed", 2, ("libtorrent",), least=True),),
    ),
    "create-hybrid": hashing(
        "making a hybrid .torrent, from one reading", partial(create, kind="hybrid"), ("libtorrent",),
        (Goal("speed", 2, ("libtorrent",), least=True),),
    ),
    "small-files": fetch(
        "5,000 files of 64 KiB", ahead(), mib=313, file_bytes=SMALL_FILE_BYTES
    ),
    "small-pieces": fetch("pieces of 16 KiB", ahead(), mib=512, piece="16K"),
    "large-pieces": fetch("pieces of 16 MiB", ahead(), mib=512, piece="16M"),
    "four-seeders": fetch("four libtorrent seeders to each client", ahead(), mib=512, seeders=4),
    "four-leechers": fetch(
        "one libtorrent seeder to four of each client, which find each other by a tracker; CPU of all four",
        ahead(), mib=256, leechers=4, tracked=True,
    ),
    "start": fetch(
        "1 MiB, from the start of the process to its end",
        (Goal("wall", 0.1), Goal("wall", 1, LEECHERS)),
        mib=1, piece="256K", metrics=("wall", "cpu_seconds", "others"), ratios=("wall",),
    ),
    "magnet": fetch(
        "a magnet link and one peer that has it, from the start of the process to the one verified piece",
        (Goal("wall", 1), Goal("wall", 1, LEECHERS)),
        mib=1, piece="1M", linked=True, metrics=("wall", "cpu_seconds", "others"), ratios=("wall",),
    ),
    "idle": Row(
        "10,000 seeding torrents without a peer",
        ("peerless", "libtorrent", "transmission"),
        idle,
        ("ready", "rss", "anon", "idle", "others"),
        ("ready", "rss", "anon"),
        (Goal("rss", 50), Goal("idle", 0.1), Goal("ready", 0.4)),
        many_torrents=True,
    ),
    "connections": Row(
        "a peerless downloader that 1,000 or 16 connections serve",
        (MANY, FEW),
        connections,
        ("speed", "cpu", "user", "system", "others"),
        ("cpu",),
        (Goal("cpu", 1.5, (FEW,), ours=MANY),),
        1024,
        ("peerless",),
        parcels=True,
        base=MANY,
    ),
    "memory": Row(
        "of a download from a peerless seeder, the fastest there is, at its peak and over time",
        ("peerless", *LEECHERS),
        lambda bench, payload, label: transfer(bench, payload, "peerless", label),
        ("speed", "rss", "anon", "growth", "others"),
        ("rss", "anon"),
        (Goal("rss", 64 + BUDGET_MIB), Goal("growth", 1.1)),
        2048,
    ),
}
