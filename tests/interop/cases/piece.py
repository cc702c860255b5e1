"""`piece`: one verified piece from each client."""

import payloads
from lab import FOREIGN
from runner import case


def _from(kind):
    @case(f"piece/{kind}", cost=12 if kind == "transmission" else 2)
    def body(lab):
        torrent = payloads.tree(lab.directory, "pieces", with_empty=False)
        seeder = lab.client(kind)
        seeder.seed([torrent], torrent.home)
        peerless = lab.peerless()
        # The last piece is short; one in the middle spans files.
        for index in (torrent.pieces // 2, torrent.pieces - 1):
            target = lab.directory / f"piece-{index}"
            peerless.run("piece", torrent.path, index, "--peer", seeder.endpoint, "-o", target)
            assert target.read_bytes() == torrent.piece(index), f"piece {index} differs"


for _kind in FOREIGN:
    _from(_kind)
