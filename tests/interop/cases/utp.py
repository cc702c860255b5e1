"""uTP alone (BEP 29), whoever dials: `peerless` takes and makes no TCP connection here."""

import payloads
from runner import case
from transfers import fetch


def _with(kind):
    cost = 15 if kind == "transmission" else 5

    @case(f"utp/get-{kind}", cost=cost)
    def get(lab):
        torrent = payloads.make(lab.directory, "utp.bin", 20_000_000)
        seeder = lab.client(kind, transport="utp")
        seeder.seed([torrent], torrent.home)
        fetch(lab, "peerless", [torrent], seeder, 50, transport="utp")

    @case(f"utp/seed-{kind}", cost=cost)
    def seed(lab):
        torrent = payloads.make(lab.directory, "utp.bin", 20_000_000)
        seeder = lab.peerless(transport="utp")
        seeder.seed([torrent], torrent.home)
        fetch(lab, kind, [torrent], seeder, 50, transport="utp")


for _kind in ("transmission", "libtorrent"):
    _with(_kind)


@case("utp/peerless", cost=3)
def ourselves(lab):
    torrent = payloads.make(lab.directory, "utp.bin", 20_000_000)
    seeder = lab.peerless(transport="utp")
    seeder.seed([torrent], torrent.home)
    fetch(lab, "peerless", [torrent], seeder, 30, transport="utp")
