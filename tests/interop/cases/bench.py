"""The bench itself: foreign clients among themselves. When one of these fails, no other verdict counts.

They are the controls for debugging the suite, run on demand (`--controls`), not part of a usual run.
"""

import payloads
from lab import FOREIGN
from runner import case
from transfers import fetch
from trackers import FOREIGN as TRACKERS


def _between(seeder_kind, leecher_kind):
    @case(f"bench/{seeder_kind}-to-{leecher_kind}", cost=14, control=True)
    def body(lab):
        torrents = payloads.sizes(lab.directory, seeder_kind)
        seeder = lab.client(seeder_kind)
        seeder.seed(torrents, torrents[0].home)
        fetch(lab, leecher_kind, torrents, seeder, 50)

    @case(f"bench/{seeder_kind}-to-{leecher_kind}-tree", cost=14, control=True)
    def body_tree(lab):
        with_empty = "transmission" not in (seeder_kind, leecher_kind)
        torrent = payloads.tree(lab.directory, seeder_kind, with_empty)
        seeder = lab.client(seeder_kind)
        seeder.seed([torrent], torrent.home)
        fetch(lab, leecher_kind, [torrent], seeder, 50)


for _seeder in FOREIGN:
    for _leecher in FOREIGN:
        if _seeder != _leecher:
            _between(_seeder, _leecher)


def _through(tracker_kind, scheme):
    @case(f"bench/{tracker_kind.name}-{scheme}", cost=5, control=True)
    def body(lab):
        torrent = payloads.make(lab.directory, "announced.bin", 300_000)
        tracker = tracker_kind(lab, [torrent])
        torrent = torrent.announcing(tracker.url(scheme))
        seeder, leecher = lab.client("libtorrent"), lab.client("libtorrent")
        seeder.seed([torrent], torrent.home)
        tracker.wait_for_seeders(torrent, 1)
        leecher.download([torrent], lab.folder("out"))
        leecher.wait_complete(20)
        torrent.check(lab.folder("out"), leecher.label)


for _kind in TRACKERS:
    for _scheme in ("http", "udp"):
        _through(_kind, _scheme)
