"""`bittorrent-tracker`, the tracker of the WebTorrent project, on Node.

Its HTTP scrape (11.2.3) is wrong for almost every torrent: it writes info hashes as UTF-8 text, so
each byte above 0x7f becomes two. Announces, and everything over UDP, are right.
"""

from pathlib import Path

import tools
from process import Process
from trackers.base import Tracker

LAUNCHER = Path(__file__).with_suffix(".mjs")


class BittorrentTracker(Tracker):
    name = "bittorrent-tracker"

    def start(self, torrents):
        server = tools.file(tools.NODE_TRACKER)
        argv = [tools.program("node"), LAUNCHER, server, self.ip, self.port]
        return Process(argv, self.home, self.name)

    def scrape_key(self, info_hash):
        return info_hash.decode("latin-1").encode()
