"""The same over IPv6 (BEP 7, 10): libtorrent on both sides, by address and by tracker."""

import netns
import payloads
from runner import case
from trackers.plain import PlainTracker
from transfers import fetch


@case("ipv6/get", cost=2)
def get(lab):
    torrent = payloads.make(lab.directory, "six.bin", 2_000_000)
    seeder = lab.client("libtorrent", family=6)
    seeder.seed([torrent], torrent.home)
    fetch(lab, "peerless", [torrent], seeder, 30, family=6)


@case("ipv6/seed", cost=2)
def seed(lab):
    torrent = payloads.make(lab.directory, "six.bin", 2_000_000)
    seeder = lab.peerless(family=6)
    seeder.seed([torrent], torrent.home)
    fetch(lab, "libtorrent", [torrent], seeder, 30, family=6)


@case("ipv6/tracker", cost=2)
def by_tracker(lab):
    """The plain tracker lists the seeder in `peers6` alone."""
    torrent = payloads.make(lab.directory, "six.bin", 2_000_000)
    seeder = lab.client("libtorrent", family=6)
    seeder.seed([torrent], torrent.home)
    tracker = PlainTracker(netns.IPV6[-1], lab.port())
    lab.at_end(tracker.stop)
    tracker.introduce([torrent], [seeder])
    leecher = lab.peerless(family=6)
    out = lab.folder("out")
    leecher.download([torrent.announcing(tracker.url)], out)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)
