"""`peers` and `get` through each tracker, over HTTP (BEP 3, 23, 48) and UDP (BEP 15)."""

import payloads
import trackers
from clients.peerless import Exit
from runner import case


SALT = 1_979_574


def _scrapable(lab):
    """The HTTP scrape of bittorrent-tracker is right only for info hashes without bytes above 0x7f."""
    torrent = payloads.make(lab.directory, "scraped.bin", 50_000, salt=SALT)
    assert bytes.fromhex(torrent.info_hash).isascii()
    return torrent


def _through(kind, scheme):
    @case(f"trackers/{kind.name}-{scheme}-peers", cost=2)
    def peers(lab):
        torrent = _scrapable(lab)
        tracker = kind(lab, [torrent])
        torrent = torrent.announcing(tracker.url(scheme))
        seeder, other = lab.client("libtorrent"), lab.client("libtorrent")
        for client in (seeder, other):
            client.seed([torrent], torrent.home)
        tracker.wait_for_seeders(torrent, 2)

        peerless = lab.peerless()
        scraped = peerless.json("peers", torrent.path, "--scrape").json
        assert [entry["scrape"]["seeders"] for entry in scraped["trackers"]] == [2], scraped
        answer = peerless.json("peers", torrent.path).json
        assert {seeder.endpoint, other.endpoint} <= set(answer["peers"]), answer

    @case(f"trackers/{kind.name}-{scheme}-get", cost=2)
    def get(lab):
        torrent = payloads.make(lab.directory, "announced.bin", 300_000)
        tracker = kind(lab, [torrent])
        torrent = torrent.announcing(tracker.url(scheme))
        seeder = lab.client("libtorrent")
        seeder.seed([torrent], torrent.home)
        tracker.wait_for_seeders(torrent, 1)
        leecher = lab.peerless()
        out = lab.folder("out")
        leecher.download([torrent], out)
        leecher.wait_complete(30)
        torrent.check(out, leecher.label)

    @case(f"trackers/{kind.name}-{scheme}-seed", cost=2)
    def seed(lab):
        """The other way: a foreign client finds us."""
        torrent = payloads.make(lab.directory, "announced.bin", 300_000)
        tracker = kind(lab, [torrent])
        torrent = torrent.announcing(tracker.url(scheme))
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home)
        tracker.wait_for_seeders(torrent, 1)
        leecher = lab.client("libtorrent")
        out = lab.folder("out")
        leecher.download([torrent], out)
        leecher.wait_complete(30)
        tracker.wait_for_seeders(torrent, 2)
        # `stopped` takes us off the list, and leaves the other on it.
        seeder.stop()
        tracker.wait_for_seeders(torrent, 1)
        leecher.stop()
        torrent.check(out, leecher.label)


for _kind in trackers.FOREIGN:
    for _scheme in ("http", "udp"):
        _through(_kind, _scheme)


@case("trackers/unlisted-torrent", cost=1)
def unlisted(lab):
    """opentracker refuses a torrent that is not on its whitelist; the reason reaches the user."""
    torrent = payloads.make(lab.directory, "unlisted.bin", 50_000)
    tracker = trackers.Opentracker(lab, [])
    torrent = torrent.announcing(tracker.url("http"))
    done = lab.peerless().run("peers", torrent.path, code=Exit.NO_PEERS)
    assert "not authorized" in (done.out + done.err), done


@case("trackers/events", cost=2)
def events(lab):
    """One `started`, one `completed`, one `stopped`, with truthful totals (BEP 3)."""
    torrent = payloads.make(lab.directory, "counted.bin", 300_000)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    tracker = lab.plain_tracker
    tracker.introduce([torrent], [seeder])
    tracked = torrent.announcing(tracker.url)
    leecher = lab.peerless()
    leecher.download([tracked], lab.folder("out"))
    leecher.wait_complete(30)
    said = [a for a in tracker.announces if a["port"] == str(leecher.port)]
    told = [a["event"] for a in said if a.get("event")]
    assert told == ["started", "completed", "stopped"], said
    assert said[0]["left"] == str(torrent.size), said
    assert (said[-1]["left"], said[-1]["downloaded"]) == ("0", str(torrent.size)), said
