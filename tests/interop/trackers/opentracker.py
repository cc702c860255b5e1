"""opentracker as Debian builds it: HTTP and UDP over IPv4, and only torrents on its whitelist."""

import netns
import tools
from process import Process
from trackers.base import Tracker


USER = "nobody"
"""It refuses to serve as root."""


class Opentracker(Tracker):
    name = "opentracker"

    def start(self, torrents):
        whitelist = self.home / "whitelist"
        hashes = [torrent.info_hash for torrent in torrents]
        whitelist.write_text("".join(f"{info_hash}\n" for info_hash in hashes))
        config = self.home / "config"
        where = netns.at(self.ip, self.port)
        config.write_text(
            f"listen.tcp {where}\n"
            f"listen.udp {where}\n"
            # It opens the list after it has made `rootdir` its root.
            f"access.whitelist /{whitelist.name}\n"
            f"tracker.rootdir {self.home}\n"
            f"tracker.user {USER}\n"
        )
        return Process([tools.program("opentracker"), "-f", config], self.home, self.name)
