"""Transmission (Debian's 3.00), driven over its RPC.

It refuses peers in 127.0.0.0/8, cannot handle files of no bytes, takes one incoming handshake at
a time from an address (whatever the torrent), and declares interest and unchokes on timers of ten
seconds: a download takes about eleven, whatever its size.
"""

import base64
import json
import urllib.error
import urllib.request

import tools
from clients.base import Client
from deadline import until
from process import Process

STATUS_SEEDING = 6
SESSION_HEADER = "X-Transmission-Session-Id"
START_SECONDS = 20


class Transmission(Client):
    name = "transmission"
    can_seed_empty = False
    one_handshake_an_address = True
    log_level = ["--log-info"]

    @staticmethod
    def daemon():
        return [tools.program("transmission-daemon")]

    def __init__(self, lab, as_shipped=False, encryption=None, transport=None, **options):
        """`as_shipped`: with its own preference for encryption, and uTP. `encryption`: `rc4` is all
        that it takes when it insists, `plaintext` what it chooses when it does not. `transport`: `utp`
        first (3.00 can't do without TCP)."""
        super().__init__(lab, **options)
        self.as_shipped = as_shipped
        self.encryption = encryption
        self.tries_utp = transport == "utp"
        self.rpc_port = lab.port()
        self.process = None
        self._session = ""

    def _start(self, dials=False, directory=None):
        settings = {
            "peer-port": self.port,
            "peer-port-random-on-start": False,
            "port-forwarding-enabled": False,
            "dht-enabled": False,
            "lpd-enabled": False,
            "preallocation": 0,
            "rename-partial-files": False,
            # Written at once, so that "complete" means complete on disk.
            "cache-size-mb": 0,
            "rpc-port": self.rpc_port,
            "rpc-bind-address": "127.0.0.1",
            "rpc-authentication-required": False,
            "download-queue-enabled": False,
            "queue-stalled-enabled": False,
        }
        if directory:
            # Beside the torrent's own: after a kill it may have forgotten that.
            settings |= {"download-dir": str(directory)}
        if self.tries_utp:
            settings |= {"utp-enabled": True, "encryption": 0}
        elif not self.as_shipped:
            settings |= {"utp-enabled": False, "encryption": 2 if self.encryption == "rc4" else 0}
        elif dials:
            # It begins encrypted, and over uTP it does not begin again without.
            settings |= {"utp-enabled": False}
        (self.home / "settings.json").write_text(json.dumps(settings))
        argv = [*self.daemon(), "-f", "-g", self.home, "-a", "*.*.*.*", *self.log_level, "-i", self.ip]
        self.process = Process(argv, self.home, self.label)
        until(self._answers, START_SECONDS, f"{self.label} to answer its RPC")

    def _answers(self):
        self.process.check_running()
        try:
            return self.call("session-get")
        except OSError:
            return None

    def call(self, method, **arguments):
        """One RPC call; gives the reply's arguments."""
        url = f"http://127.0.0.1:{self.rpc_port}/transmission/rpc"
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(url, body, {SESSION_HEADER: self._session})
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    answer = json.load(reply)
            except urllib.error.HTTPError as refusal:
                # 409 hands out the session id that the next attempt must carry.
                if refusal.code != 409:
                    raise
                self._session = refusal.headers[SESSION_HEADER]
                continue
            assert answer["result"] == "success", f"{method}: {answer['result']}"
            return answer["arguments"]
        raise AssertionError(f"{self.label} refuses its own session id")

    def _add(self, torrents, directory):
        for torrent in torrents:
            data = base64.b64encode(torrent.path.read_bytes()).decode()
            self._add_one(directory, metainfo=data)

    def _add_one(self, directory, **source):
        self.call("torrent-add", paused=False, **source, **{"download-dir": str(directory)})

    def torrents(self):
        fields = ["name", "status", "percentDone", "leftUntilDone", "errorString", "haveValid"]
        return self.call("torrent-get", fields=fields)["torrents"]

    def peers(self, torrent):
        """Whom it is connected to for a torrent, as it tells."""
        fields = {"fields": ["hashString", "peers"], "ids": [torrent.info_hash]}
        return [peer for one in self.call("torrent-get", **fields)["torrents"] for peer in one["peers"]]

    def _all_seeding(self):
        self.process.check_running()
        states = self.torrents()
        for state in states:
            assert not state["errorString"], f"{state['name']}: {state['errorString']}"
        return all(s["status"] == STATUS_SEEDING and s["leftUntilDone"] == 0 for s in states)

    def seed(self, torrents, directory):
        self._start()
        self._add(torrents, directory)
        until(self._all_seeding, START_SECONDS, f"{self.label} to check what it seeds")

    def download(self, torrents, out, seeders=(), by_magnet=False):
        self._start(dials=True, directory=out)
        if seeders:
            # No peer argument here: it hears of them from a tracker.
            tracker = self.lab.plain_tracker
            tracker.introduce(torrents, seeders)
            torrents = [t.announcing(tracker.url, suffix=self.label) for t in torrents]
        if by_magnet:
            for torrent in torrents:
                self._add_one(out, filename=torrent.magnet([self.lab.plain_tracker.url]))
        else:
            self._add(torrents, out)

    def resume(self, torrents, out, seeders=(), **options):
        """It knows its torrents; the tracker tells it of the peers again."""
        self._start(dials=True, directory=out)

    def wait_complete(self, seconds):
        until(self._all_seeding, seconds, f"{self.label} to complete", interval=0.1)

    def stop(self):
        if self.process:
            self.process.stop()
