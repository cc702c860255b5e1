"""`piece`: one verified piece from each client."""

import payloads
from lab import FOREIGN
from runner import case


def _served(lab, kind):
    torrent = payloads.tree(lab.directory, "pieces", with_empty=False)
    seeder = lab.client(kind)
    seeder.seed([torrent], torrent.home)
    return seeder, torrent


def _fetch(lab, seeder, torrent, index):
    target = lab.directory / f"piece-{index}"
    peer = ["--peer", seeder.endpoint]
    lab.peerless().run("piece", torrent.path, index, *peer, "-o", target)
    assert target.read_bytes() == torrent.piece(index), f"piece {index} differs"


def _from(kind):
    @case(f"piece/{kind}", cost=12 if kind == "transmission" else 2)
    def body(lab):
        seeder, torrent = _served(lab, kind)
        # In the middle of the tree, where a piece spans files.
        _fetch(lab, seeder, torrent, torrent.pieces // 2)


for _kind in FOREIGN:
    _from(_kind)


@case("piece/the-last", cost=2)
def last(lab):
    """The one that is shorter than the others."""
    seeder, torrent = _served(lab, "libtorrent")
    _fetch(lab, seeder, torrent, torrent.pieces - 1)
