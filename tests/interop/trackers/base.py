"""What both foreign trackers share: a process, HTTP and UDP on one port, and a look at what they know."""

import urllib.parse
import urllib.request

import bencode
import netns
from deadline import until

START_SECONDS = 20


class Tracker:
    name = "?"

    def __init__(self, lab, torrents, ip=None):
        """Start it for `torrents`, at `ip` if that matters; returns when it answers."""
        self.ip = ip or lab.ip()
        self.port = lab.port()
        self.home = lab.folder(f"{self.name}-{self.port}")
        self.process = self.start(torrents)
        lab.at_end(self.process.stop)
        until(self._answers, START_SECONDS, f"{self.name} to answer")

    def start(self, torrents):
        raise NotImplementedError

    def url(self, scheme):
        return f"{scheme}://{netns.at(self.ip, self.port)}/announce"

    def _answers(self):
        self.process.check_running()
        try:
            return self.counts("00" * 20) is not None
        except OSError:
            return False

    def counts(self, info_hash):
        """`(seeders, leechers)` of a torrent by the tracker's own scrape."""
        key = bytes.fromhex(info_hash)
        query = "info_hash=" + urllib.parse.quote_from_bytes(key, safe="")
        url = f"http://{netns.at(self.ip, self.port)}/scrape?{query}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            files = bencode.decode(reply.read()).get(b"files", {})
        entry = files.get(self.scrape_key(key), {})
        return entry.get(b"complete", 0), entry.get(b"incomplete", 0)

    def scrape_key(self, info_hash):
        """The key under which the tracker's HTTP scrape lists an info hash."""
        return info_hash

    def wait_for_seeders(self, torrent, count, seconds=20):
        until(
            lambda: self.counts(torrent.info_hash)[0] == count,
            seconds,
            f"{count} seeders at {self.name}",
        )
