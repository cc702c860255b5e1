"""What the rows share: the clients that are here, addresses, ports, and folders that end with a run."""

import itertools
import shutil

import netns
from trackers.plain import PlainTracker

FIRST_PORT = 21_000
TRACKER_IP = netns.IPV4[-1]


class Bench:
    def __init__(self, scratch, found):
        self.scratch, self.contenders = scratch, found
        self._ports = itertools.count(FIRST_PORT)
        self._ips = itertools.cycle(netns.IPV4[:-1])
        self._runs = itertools.count()
        self.tracker = PlainTracker(TRACKER_IP, self.port())

    def port(self):
        """Never the same twice: the kernel keeps a closed one for a while."""
        return next(self._ports)

    def ip(self):
        return next(self._ips)

    def folder(self):
        """A new folder for one run; the one before is gone."""
        self.clean(*self.scratch.glob("run-*"))
        made = self.scratch / f"run-{next(self._runs)}"
        made.mkdir()
        return made

    def clean(self, *folders):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
