"""What one case works with: a directory, addresses, ports, clients and trackers, all ended with it."""

import netns
from clients.aria2 import Aria2
from clients.debian13 import Aria2Newer, Transmission4
from clients.libtorrent_client import Libtorrent
from clients.peerless import Peerless
from clients.transmission import Transmission
from trackers.plain import PlainTracker

TRACKER_IP = netns.IPV4[-1]

FIRST_PORT = 21_000

FOREIGN = {"transmission": Transmission, "aria2": Aria2, "libtorrent": Libtorrent}

NEWER = {"transmission-4": Transmission4, "aria2-newer": Aria2Newer}
"""For what the older ones can't do; they have no part in the cases of every client."""


class Lab:
    def __init__(self, directory, peerless):
        self.directory = directory
        self.peerless_path = peerless
        self.closers = []
        self._ips = {4: iter(netns.IPV4[:-1]), 6: iter(netns.IPV6[:-1])}
        self._port = FIRST_PORT
        self._plain = None
        directory.mkdir(parents=True, exist_ok=True)

    def ip(self, family=4):
        """An address that nothing else in this case uses."""
        return next(self._ips[family])

    def port(self):
        self._port += 1
        return self._port

    def folder(self, name):
        path = self.directory / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def at_end(self, close):
        """Call `close` when the case is over, in reverse order of registration."""
        self.closers.append(close)

    def client(self, kind, **options):
        """A foreign client by name, or `peerless`."""
        made = (FOREIGN | NEWER | {"peerless": Peerless})[kind](self, **options)
        self.at_end(made.stop)
        return made

    def peerless(self, **options):
        return self.client("peerless", **options)

    @property
    def plain_tracker(self):
        """The suite's own tracker: how clients without a peer argument hear of their peers."""
        if self._plain is None:
            self._plain = PlainTracker(TRACKER_IP, self.port())
            self.at_end(self._plain.stop)
        return self._plain

    def close(self):
        problems = []
        while self.closers:
            try:
                self.closers.pop()()
            except Exception as problem:  # one client's trouble must not leave others running
                problems.append(problem)
        return problems

    def logs(self):
        return sorted(self.directory.rglob("*.log"))
