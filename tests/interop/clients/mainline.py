"""Nodes of the DHT as the crate `mainline` has them, in one process; `../mainline` is its source."""

import json
import threading

import netns
import tools
from process import Process

START_SECONDS = 30
STOP_SECONDS = 5


class Mainline:
    """`count` nodes that serve, each on an address of its own, which begin with those of `bootstrap`."""

    def __init__(self, lab, count, bootstrap):
        self.endpoints = [netns.at(lab.ip(), lab.port()) for _ in range(count)]
        argv = [tools.file(tools.MAINLINE_NODE), ",".join(bootstrap), *self.endpoints]
        self.process = Process(argv, lab.folder("mainline"), "mainline", pipes=True)
        lab.at_end(self.stop)
        ready = self._read(1, START_SECONDS)
        assert ready == [{"ready": count}], ready

    def announce(self, torrents, seconds):
        """Each (hash, port) by the next node; gives where each is then to be found."""
        orders = [(n % len(self.endpoints), *torrent) for n, torrent in enumerate(torrents)]
        answers = self._order([f"announce {node} {info_hash} {port}" for node, info_hash, port in orders],
                              seconds)
        refused = [answer for answer in answers if "error" in answer]
        assert not refused, refused
        hosts = [netns.split(endpoint)[0] for endpoint in self.endpoints]
        return {info_hash: netns.at(hosts[node], port) for node, info_hash, port in orders}

    def find(self, hashes, seconds):
        """Looks for each torrent by the next node; gives the peers of each."""
        orders = [f"find {n % len(self.endpoints)} {info_hash}" for n, info_hash in enumerate(hashes)]
        answers = self._order(orders, seconds)
        refused = [answer for answer in answers if "error" in answer]
        assert not refused, refused
        return {answer["found"]: answer["peers"] for answer in answers}

    def _order(self, lines, seconds):
        self.process.child.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.child.stdin.flush()
        return self._read(len(lines), seconds)

    def _read(self, count, seconds):
        # If it hangs, the kill ends our read.
        guard = threading.Timer(seconds, self.process.child.kill)
        guard.start()
        try:
            lines = [self.process.child.stdout.readline() for _ in range(count)]
        finally:
            guard.cancel()
        assert all(lines), f"mainline died, or took more than {seconds} s"
        return [json.loads(line) for line in lines]

    def stop(self):
        """Ends with its input."""
        if self.process.running:
            self.process.child.stdin.close()
        self.process.ended(STOP_SECONDS)
