"""A seeder whose data is wrong, beside an honest one: the copy is right all the same."""

import shutil

import payloads
from runner import case


def damage(path, torrent):
    """Flip one byte in every other piece, none in the same place."""
    with path.open("r+b") as data:
        for piece in range(0, torrent.pieces, 2):
            at = piece * torrent.piece_length + piece * 523 % torrent.piece_length
            data.seek(at)
            flipped = data.read(1)[0] ^ 0xFF
            data.seek(at)
            data.write(bytes([flipped]))


@case("corruption/one-of-two-seeders", seconds=90, cost=5)
def one_of_two(lab):
    torrent = payloads.make(lab.directory, "poisoned.bin", 6 << 20, 64 * 1024)
    honest, liar = lab.client("libtorrent"), lab.client("libtorrent")
    # The honest one is slow, so that the liar has its chance.
    honest.seed([torrent], torrent.home, upload_limit=2 << 20)
    rotten = lab.folder("rotten")
    shutil.copy(torrent.home / torrent.name, rotten)
    # Damaged only after libtorrent's own check: told to trust its files instead, it would still
    # hash each piece before it first sends it.
    liar.seed([torrent], rotten)
    damage(rotten / torrent.name, torrent)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.download([torrent], out, [honest, liar], extra=["--no-tracker"])
    leecher.wait_complete(60)
    torrent.check(out, leecher.label)
    served = liar.status()[torrent.info_hash]["payload_uploaded"]
    assert served, "the liar served nothing: the case proves nothing"
