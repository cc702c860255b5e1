"""Local discovery (BEP 14) by multicast on the namespace's loopback: nobody has a tracker or a peer."""

import payloads
from runner import case

OURS = ["--local-discovery", "--no-tracker"]


@case("local-discovery/get-libtorrent", cost=5)
def get(lab):
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    leecher = lab.peerless(arguments=OURS)
    out = lab.folder("out")
    leecher.download([torrent], out)
    seeder = lab.client("libtorrent", local_discovery=True)
    seeder.seed([torrent], torrent.home)
    leecher.wait_complete(50)
    torrent.check(out, leecher.label)


@case("local-discovery/between-us", cost=3)
def ourselves(lab):
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    seeder = lab.peerless(arguments=OURS)
    seeder.seed([torrent], torrent.home)
    leecher = lab.peerless(arguments=OURS)
    out = lab.folder("out")
    leecher.download([torrent], out)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)
