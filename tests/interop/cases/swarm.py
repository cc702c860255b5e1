"""Many clients at once: a shaped seeder and five leechers of four kinds that must feed each other."""

import payloads
from runner import case

SEED_RATE = 8 << 20
SIZE = 48 << 20
WASTE_SHARE_MAX = 0.02
LEECHERS = ["transmission", "aria2", "libtorrent", "peerless", "peerless"]


@case("swarm/mixed", seconds=120, cost=18)
def mixed(lab):
    torrent = payloads.make(lab.directory, "swarm.bin", SIZE, 256 * 1024)
    tracker = lab.plain_tracker
    torrent = torrent.announcing(tracker.url)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=SEED_RATE)
    tracker.introduce([torrent], [seeder])
    leechers = [lab.client(kind) for kind in LEECHERS]
    for leecher in leechers:
        out = lab.folder(f"out-{leecher.label}")
        leecher.download([torrent], out)
    for leecher in leechers:
        leecher.wait_complete(90)
        leecher.stop()
        torrent.check(lab.directory / f"out-{leecher.label}", leecher.label)
    for leecher in leechers:
        if leecher.name == "peerless":
            share = leecher.summary()["wasted"] / torrent.size
            assert share < WASTE_SHARE_MAX, f"{leecher.label} wasted {share:.1%}"
