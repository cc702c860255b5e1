"""Message stream encryption, forced both ways: nobody takes a plain connection, and behind the
handshake goes plaintext, or RC4 where the other side insists.
"""

import payloads
from lab import FOREIGN
from runner import case
from transfers import fetch

SIZE = 3_000_000
REQUIRED = ["--encryption", "require"]


def _with(kind, level):
    cost = 15 if kind == "transmission" else 4
    payload = {"plaintext": "plaintext", "rc4": "RC4"}[level]

    @case(f"encryption/get-{kind}-{level}", cost=cost)
    def get(lab):
        torrent = payloads.make(lab.directory, "hidden.bin", SIZE)
        other = payloads.make(lab.directory, "greeted.bin", 50_000)
        seeder = lab.client(kind, encryption=level)
        seeder.seed([torrent, other], torrent.home)
        words = [other.path, seeder.endpoint, *REQUIRED]
        answer = lab.peerless().json("handshake", *words).json
        assert answer["encryption"] == payload, answer
        fetch(lab, "peerless", [torrent], seeder, 50, arguments=REQUIRED)

    @case(f"encryption/seed-{kind}-{level}", cost=cost)
    def seed(lab):
        torrent = payloads.make(lab.directory, "hidden.bin", SIZE)
        seeder = lab.peerless(arguments=REQUIRED)
        seeder.seed([torrent], torrent.home)
        fetch(lab, kind, [torrent], seeder, 50, encryption=level)


def _fallback(kind):
    """As we ship: the peer hangs up on plain connections, and is dialled again."""

    @case(f"encryption/fallback-{kind}", cost=15 if kind == "transmission" else 4)
    def body(lab):
        torrent = payloads.make(lab.directory, "hidden.bin", SIZE)
        seeder = lab.client(kind, encryption="rc4")
        seeder.seed([torrent], torrent.home)
        fetch(lab, "peerless", [torrent], seeder, 50)


for _kind in FOREIGN:
    _fallback(_kind)
    _with(_kind, "rc4")
    # Transmission 3.00 takes nothing but RC4 when it insists.
    if _kind != "transmission":
        _with(_kind, "plaintext")


@case("encryption/prefer-with-who-can-not", cost=1)
def prefer(lab):
    """libtorrent without encryption: what is preferred fails, and the plain way is tried."""
    torrent = payloads.make(lab.directory, "open.bin", SIZE)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    fetch(lab, "peerless", [torrent], seeder, 50, arguments=["--encryption", "prefer"])


@case("encryption/between-us", cost=3)
def ourselves(lab):
    torrent = payloads.make(lab.directory, "hidden.bin", SIZE)
    seeder = lab.peerless(arguments=REQUIRED)
    seeder.seed([torrent], torrent.home)
    fetch(lab, "peerless", [torrent], seeder, 30, arguments=REQUIRED)
