"""`seed` to one leecher of each kind: every awkward length, and a tree, byte for byte."""

import payloads
from lab import FOREIGN
from runner import case
from transfers import fetch


def _to(kind):
    cost = 15 if kind == "transmission" else 4

    @case(f"seed/{kind}-sizes", cost=cost)
    def sizes(lab):
        torrents = payloads.sizes(lab.directory, kind)
        seeder = lab.peerless()
        seeder.seed(torrents, torrents[0].home)
        fetch(lab, kind, torrents, seeder, 50)

    @case(f"seed/{kind}-tree", cost=cost)
    def tree(lab):
        torrent = payloads.tree(lab.directory, f"tree to {kind}", FOREIGN[kind].can_seed_empty)
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home)
        fetch(lab, kind, [torrent], seeder, 50)


for _kind in FOREIGN:
    _to(_kind)


@case("seed/peerless-tree", cost=3)
def ourselves(lab):
    torrent = payloads.tree(lab.directory, "tree between us")
    seeder = lab.peerless()
    seeder.seed([torrent], torrent.home)
    fetch(lab, "peerless", [torrent], seeder, 30)
