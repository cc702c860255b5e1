"""A hybrid (BEP 52) by two links at once, each of which has one of its names: nobody can tell that they are one
torrent before the metadata is there.
"""

import payloads_v2
from runner import case


@case("v2/hybrid-by-both-links", cost=3)
def by_both_links(lab):
    torrent = payloads_v2.shapes(lab.directory, "hybrid by two links", True)
    seeder, leecher = lab.client("libtorrent"), lab.peerless()
    seeder.seed([torrent], torrent.home)
    out = lab.folder("out")
    links = [f"magnet:?xt=urn:btih:{torrent.info_hash}", f"magnet:?xt=urn:btmh:1220{torrent.v2}"]
    where = ["--peer", seeder.endpoint, "--bind", leecher.ip, "--port", leecher.port, "--no-tracker"]
    said = leecher.json("get", *links, "-o", out, *where, seconds=40).lines
    torrent.check(out, leecher.label)
    events = [event["event"] for event in said]
    assert events.count("summary") == 1 and events.count("same_torrent") == 1, events
    names = next(event for event in said if event["event"] == "same_torrent")
    assert names["info_hash_v1"] == torrent.info_hash, names
    assert names["info_hash_v2"] == torrent.v2, names
    summary = next(event for event in said if event["event"] == "summary")
    assert summary["wasted"] == 0, summary
