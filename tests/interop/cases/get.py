"""`get` from one seeder of each kind: every awkward length, and a tree, byte for byte."""

import payloads
from clients.peerless import Exit
from lab import FOREIGN
from runner import case
from transfers import fetch


def _from(kind):
    cost = 14 if kind == "transmission" else 3

    @case(f"get/{kind}-sizes", cost=cost)
    def sizes(lab):
        torrents = payloads.sizes(lab.directory, kind)
        seeder = lab.client(kind)
        seeder.seed(torrents, torrents[0].home)
        fetch(lab, "peerless", torrents, seeder, 50)

    @case(f"get/{kind}-tree", cost=cost)
    def tree(lab):
        seeder = lab.client(kind)
        torrent = payloads.tree(lab.directory, f"tree from {kind}", seeder.can_seed_empty)
        seeder.seed([torrent], torrent.home)
        [leecher] = fetch(lab, "peerless", [torrent], seeder, 50)
        # One honest peer: nothing is asked for twice.
        assert leecher.summary()["downloaded"] == torrent.size, leecher.summary()


for _kind in FOREIGN:
    _from(_kind)


@case("get/empty-file", cost=1)
def empty(lab):
    """A torrent of no bytes has no pieces: done at once, with no peer."""
    torrent = payloads.make(lab.directory, "empty.bin", 0)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.download([torrent], out, extra=["--no-tracker"])
    leecher.wait_complete(10)
    torrent.check(out, leecher.label)


@case("get/no-peers", cost=5)
def no_peers(lab):
    """Neither peers nor trackers: an exit code instead of waiting for ever."""
    torrent = payloads.make(lab.directory, "lonely.bin", 50_000)
    alone = ["--no-tracker", "--wait-peers", 2]
    lab.peerless().run("get", torrent.path, "-o", lab.folder("out"), *alone, code=Exit.NO_PEERS)
