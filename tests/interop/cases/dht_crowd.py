"""A network of two hundred DHT nodes of ours, with those of others among them."""

import hashlib
import json
import threading

import payloads
import tools
from clients.mainline import Mainline
from process import Process
from runner import case

CROWD = 200
MAINLINE = 8
"""Nodes of the crate `mainline`, each on an address of its own."""
MAINLINE_TORRENTS = 24

STEP_SECONDS = 70


class Crowd:
    """The example `dht_crowd` of the library, step by step."""

    def __init__(self, lab, foreign):
        argv = [tools.file(tools.DHT_CROWD), lab.ip(), CROWD, *(client.endpoint for client in foreign)]
        self.process = Process(argv, lab.folder("crowd"), "crowd", pipes=True)
        lab.at_end(self.process.kill)
        self.addresses = self._step()["addresses"]

    def announce(self, guests):
        """Has each announce a torrent: the port by info hash."""
        return self._step(guests)["torrents"]

    def find(self, others):
        """Has all look, for those that others announced too; gives what came of it."""
        return self._step([f"{info_hash}={endpoint}" for info_hash, endpoint in others.items()])

    def _step(self, words=None):
        if words is not None:
            self.process.child.stdin.write(" ".join(words) + "\n")
            self.process.child.stdin.flush()
        guard = threading.Timer(STEP_SECONDS, self.process.child.kill)
        guard.start()
        try:
            line = self.process.child.stdout.readline()
        finally:
            guard.cancel()
        assert line, f"the crowd died, or took more than {STEP_SECONDS} s"
        return json.loads(line)


@case("dht/crowd", cost=21, seconds=150)
def crowd(lab):
    """Nodes of libtorrent's, aria2's and `mainline` among ours, which announce a torrent each and find
    another; `mainline` finds ours and is found, and its nodes keep torrents for ours."""
    foreign = [lab.client("libtorrent", dht="")]
    foreign[0].status()  # it is up
    torrent = payloads.make(lab.directory, "other.bin", 1)
    foreign.append(lab.client("aria2", dht=foreign[0].endpoint))
    foreign[1].seed([torrent], torrent.home)
    ours = Crowd(lab, foreign)
    mainline = Mainline(lab, MAINLINE, ours.addresses[1:4])
    torrents = ours.announce(mainline.endpoints)
    assert len(torrents) == CROWD, torrents

    hashes = [hashlib.sha1(b"mainline %d" % n).hexdigest() for n in range(MAINLINE_TORRENTS)]
    theirs = mainline.announce([(info_hash, 20_000 + n) for n, info_hash in enumerate(hashes)], 30)
    ip = ours.addresses[0].rpartition(":")[0]
    peers = mainline.find(torrents, 40)
    by_mainline = sum(f"{ip}:{port}" in peers[info_hash] for info_hash, port in torrents.items())

    outcome = ours.find(theirs) | {"by_mainline": by_mainline}
    (lab.directory / "outcome.json").write_text(json.dumps(outcome))
    assert outcome["found"] >= CROWD * 0.99, outcome
    assert outcome["others"] >= MAINLINE_TORRENTS * 0.99, outcome
    assert by_mainline >= CROWD * 0.99, outcome
    assert outcome["median_hops"] <= 4, outcome
    assert min(outcome["named"]) > 0, f"a foreign node is in no table: {outcome}"
    assert min(outcome["guests"]) > 0, f"a node of mainline's is in no table: {outcome}"
    assert min(outcome["answers"]) > 0, f"a node of mainline's answers nobody: {outcome}"
    assert sum(outcome["with_peers"]) > 0, f"mainline keeps no torrents for us: {outcome}"
