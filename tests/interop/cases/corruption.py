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


def every_block(path, _torrent):
    """Write over a part of every block."""
    with path.open("r+b") as data:
        for at in range(0, path.stat().st_size, payloads.BLOCK):
            data.seek(at + 5)
            data.write(b"bad")


def honest_and_liar(lab, torrent, spoil=damage, below="", liar_limit=0):
    """Two libtorrents that seed it: an honest one, slow so that the other has its chance, and one whose
    file `below` was spoilt. With a limit it can't have sent much before it is found out."""
    honest, liar = lab.client("libtorrent"), lab.client("libtorrent")
    honest.seed([torrent], torrent.home, upload_limit=2 << 20)
    rotten = lab.folder("rotten")
    whole = torrent.home / torrent.name
    (shutil.copytree if whole.is_dir() else shutil.copy)(whole, rotten / torrent.name)
    # Damaged only after libtorrent's own check: told to trust its files instead, it would still
    # hash each piece before it first sends it.
    liar.seed([torrent], rotten, **({"upload_limit": liar_limit} if liar_limit else {}))
    spoil(rotten / torrent.name / below if below else rotten / torrent.name, torrent)
    return honest, liar


def assert_lied(liar, torrent):
    served = liar.status()[torrent.info_hash]["payload_uploaded"]
    assert served, "the liar served nothing: the case proves nothing"


@case("corruption/one-of-two-seeders", seconds=90, cost=5)
def one_of_two(lab):
    torrent = payloads.make(lab.directory, "poisoned.bin", 6 << 20, 64 * 1024)
    honest, liar = honest_and_liar(lab, torrent)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.download([torrent], out, [honest, liar], extra=["--no-tracker"])
    leecher.wait_complete(60)
    torrent.check(out, leecher.label)
    assert_lied(liar, torrent)
