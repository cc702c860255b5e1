"""Clients with the encryption and uTP they ship with: they try those first and must fall back to us.

Elsewhere in the suite both are off, so that a failure has one cause.
"""

import payloads
from runner import case
from transfers import fetch


def _with(kind):
    cost = 15 if kind == "transmission" else 5

    @case(f"defaults/get-{kind}", cost=cost)
    def get(lab):
        torrent = payloads.make(lab.directory, "defaults.bin", 2_000_000)
        seeder = lab.client(kind, as_shipped=True)
        seeder.seed([torrent], torrent.home)
        fetch(lab, "peerless", [torrent], seeder, 50)

    @case(f"defaults/seed-{kind}", cost=cost)
    def seed(lab):
        torrent = payloads.make(lab.directory, "defaults.bin", 2_000_000)
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home)
        fetch(lab, kind, [torrent], seeder, 50, as_shipped=True)


for _kind in ("transmission", "libtorrent"):
    _with(_kind)
