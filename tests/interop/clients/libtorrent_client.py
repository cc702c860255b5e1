"""libtorrent 2.1 (the wheel of the package registry), in a process of its own.

`libtorrent_driver.py` runs there under the interpreter that has the wheel and takes one JSON
command a line; it waits on libtorrent's own alerts.
"""

import json
import threading
from pathlib import Path

import netns
import tools
from clients.base import Client
from deadline import TooLate
from process import Process

DRIVER = Path(__file__).with_name("libtorrent_driver.py")
START_SECONDS = 20

DHT = {
    "enable_dht": True,
    # A network of a few nodes on neighbouring addresses, which it would take for one attacker.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_announce_interval": 2,
}
STOP_SECONDS = 10
ENCRYPTION_LEVELS = {"plaintext": 1, "rc4": 2}


class Libtorrent(Client):
    name = "libtorrent"

    def __init__(self, lab, as_shipped=False, encryption=None, transport=None, local_discovery=False,
                 dht=None, house=None, settings=None, **options):
        """`as_shipped`: with its own preference for encryption, and uTP. `encryption`: nothing but
        encrypted handshakes, and behind them `plaintext` or `rc4`. `transport`: `utp` alone.
        `dht`: with a DHT node that begins with the one at this endpoint, or with none if it is
        empty. `house`: where it runs, if not with everybody. `settings`: more of its own."""
        super().__init__(lab, **options)
        self.ip = house.ip if house else self.ip
        config = {"listen_interfaces": self.endpoint, "outgoing_interfaces": self.ip}
        if encryption:
            level = ENCRYPTION_LEVELS[encryption]
            forced = {"in_enc_policy": 0, "out_enc_policy": 0, "allowed_enc_level": level}
            config |= forced | {"prefer_rc4": encryption == "rc4"}
        config |= {"enable_lsd": True} if local_discovery else {}
        if dht is not None:
            config |= DHT | {"dht_bootstrap_nodes": dht}
        config |= settings or {}
        self.argv = [*house.within] if house else []
        self.argv += [tools.file(tools.PYTHON_WITH_LIBTORRENT), DRIVER, json.dumps(config)]
        self.argv += ["--as-shipped"] if as_shipped else []
        self.argv += ["--utp"] if transport == "utp" else []
        self._start()

    def _start(self):
        self.process = Process(self.argv, self.home, self.label, pipes=True)

    def resume(self, torrents, out, seeders=(), **options):
        """It keeps nothing by itself: what is there is checked."""
        self._start()
        self.download(torrents, out, seeders, **options)

    def ask(self, command, seconds=START_SECONDS, **arguments):
        """One command to the driver; gives its answer."""
        self.process.check_running()
        # The driver keeps to the deadline it is given; if it hangs, the kill ends our read.
        guard = threading.Timer(seconds + 5, self.process.child.kill)
        guard.start()
        try:
            line = json.dumps({"do": command, "seconds": seconds, **arguments})
            self.process.child.stdin.write(line + "\n")
            self.process.child.stdin.flush()
            answer = self.process.child.stdout.readline()
        finally:
            guard.cancel()
        assert answer, f"{self.label} died or hung over {command!r}"
        answer = json.loads(answer)
        if "late" in answer:
            raise TooLate(f"{self.label}: {answer['late']}")
        assert "error" not in answer, f"{self.label}: {answer.get('error')}"
        return answer["answer"]

    def seed(self, torrents, directory, *, upload_limit=0, seconds=START_SECONDS):
        """`upload_limit`: bytes a second for each torrent. `seconds`: to hash all of it."""
        for torrent in torrents:
            self.ask(
                "add",
                torrent=str(torrent.path),
                directory=str(directory),
                upload_limit=upload_limit,
            )
        self.ask("wait", seconds)

    def download(self, torrents, out, seeders=(), by_magnet=False):
        for torrent in torrents:
            peers = [netns.split(seeder.serving(torrent)) for seeder in seeders]
            source = torrent.magnet() if by_magnet else str(torrent.path)
            self.ask("add", torrent=source, directory=str(out), peers=peers)

    def wait_complete(self, seconds):
        self.ask("wait", seconds=seconds)

    def status(self):
        """For each info hash: progress, uploaded and downloaded payload, and the like."""
        return self.ask("status")

    def alerts(self):
        """What it said since it was asked last."""
        return self.ask("alerts")

    def stop(self):
        """Ends with its input, so that everything hashed reaches the disk."""
        if self.process.running:
            self.process.child.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except TooLate:
            self.process.kill()
            raise
