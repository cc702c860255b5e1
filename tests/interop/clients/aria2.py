"""aria2 (Debian's 1.36), driven by its command line and, while seeding, its RPC.

It takes peers from trackers alone, knows neither uTP nor BitTorrent v2, and uses UDP trackers
only while its DHT is on.
"""

import json
import urllib.request

import tools
from clients.base import Client
from deadline import until
from process import Process

START_SECONDS = 20


class Aria2(Client):
    name = "aria2"

    @staticmethod
    def program():
        return [tools.program("aria2c")]

    def __init__(self, lab, encryption=None, dht=None, **options):
        """`encryption`: nothing but encrypted handshakes, and behind them at least `plaintext` or
        `rc4`. `dht`: with a DHT node that begins with the one at this endpoint."""
        super().__init__(lab, **options)
        level = {"plaintext": "plain", "rc4": "arc4"}.get(encryption)
        forced = ["--bt-require-crypto=true", f"--bt-min-crypto-level={level}"]
        self.encryption = forced if level else []
        self.dht = dht
        self.process = None
        self.rpc_port = None

    def _start(self, directory, extra, sources):
        argv = [
            *self.program(),
            "--no-conf",
            f"--dir={directory}",
            f"--interface={self.ip}",
            f"--listen-port={self.port}",
            "--disable-ipv6=true",
            *self._dht(),
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--file-allocation=none",
            "--max-concurrent-downloads=100",
            "--bt-max-open-files=300",
            "--summary-interval=0",
            "--console-log-level=notice",
            "--enable-color=false",
            "--show-console-readout=false",
            *self.encryption,
            *extra,
        ]
        self.process = Process(argv + sources, self.home, self.label)

    def _dht(self):
        if not self.dht:
            return ["--enable-dht=false"]
        return [
            "--enable-dht=true",
            f"--dht-listen-port={self.port}",
            f"--dht-listen-addr={self.ip}",
            f"--dht-entry-point={self.dht}",
            f"--dht-file-path={self.home / 'dht.dat'}",
        ]

    def _call(self, method, *params):
        body = {"jsonrpc": "2.0", "id": "0", "method": method, "params": list(params)}
        url = f"http://127.0.0.1:{self.rpc_port}/jsonrpc"
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10) as reply:
            return json.load(reply)["result"]

    def seed(self, torrents, directory):
        self.rpc_port = self.lab.port()
        extra = [
            "--seed-ratio=0.0",
            "--check-integrity=true",
            "--allow-overwrite=true",
            "--enable-rpc=true",
            f"--rpc-listen-port={self.rpc_port}",
        ]
        self._start(directory, extra, [t.path for t in torrents])
        wanted = {t.info_hash for t in torrents}

        def seeding():
            self.process.check_running()
            try:
                active = self._call("aria2.tellActive", ["infoHash", "seeder"])
            except OSError:
                return False
            return wanted == {a["infoHash"] for a in active if a.get("seeder") == "true"}

        until(seeding, START_SECONDS, f"{self.label} to check what it seeds")

    def download(self, torrents, out, seeders=(), by_magnet=False):
        extra = ["--seed-time=0"]
        if seeders:
            tracker = self.lab.plain_tracker
            tracker.introduce(torrents, seeders)
            extra.append(f"--bt-tracker={tracker.url}")
        self._start(out, extra, [t.magnet() if by_magnet else t.path for t in torrents])

    def wait_complete(self, seconds):
        code = self.process.wait(seconds)
        assert code == 0, f"{self.label} ended with exit code {code}"

    def stop(self):
        if self.process:
            self.process.stop()
