"""Many idle seeding torrents: how soon after a clean stop they are ready, and what they cost then."""

import hashlib
import json
import re
import signal
import time
import urllib.error
import urllib.request

import bencode
import netns
import tools
from contenders import LIBTORRENT_CLIENT
from processes import Failed, Running, machine_busy

TORRENTS = 10_000
FILE_BYTES = 16 * 1024
START_SECONDS = 110
STOP_SECONDS = 30
SETTLE_SECONDS = 3
IDLE_SECONDS = 15
STATUS_SEEDING = 6
SESSION_HEADER = "X-Transmission-Session-Id"


class ManyTorrents:
    """A folder of small files, another of the .torrent of each, and what each client remembers."""

    def __init__(self, home, count=None):
        self.home, self.count = home, count or TORRENTS
        self.data, self.torrents = home / "data", home / "torrents"
        self.data.mkdir()
        self.torrents.mkdir()
        self.stopped = set()  # clients that have seen them all and were stopped in good order
        for number in range(self.count):
            content = b"%016d" % number * (FILE_BYTES // 16)
            name = f"{number:06}.bin"
            info = {"name": name, "length": FILE_BYTES, "piece length": FILE_BYTES,
                    "pieces": hashlib.sha1(content).digest()}
            (self.data / name).write_bytes(content)
            (self.torrents / f"{name}.torrent").write_bytes(bencode.encode({"info": info}))

    def __str__(self):
        return f"{self.count} torrents of {FILE_BYTES // 1024} KiB"


def idle(bench, many, name):
    """Figures of a start after a clean stop; the first run of a client is followed by such a stop."""
    client = CLIENTS[name](bench, many)
    if name not in many.stopped:
        process = client.start(first=True)
        try:
            process.until(lambda: client.ready(process), START_SECONDS, "to be ready")
        finally:
            process.stop(signal.SIGINT, STOP_SECONDS)
        many.stopped.add(name)
    process = client.start(first=False)
    try:
        process.until(lambda: client.ready(process), START_SECONDS, "to be ready")
        ready = time.monotonic() - process.start
        time.sleep(SETTLE_SECONDS)  # what is measured is how much happens in a span of time
        busy, before, start = machine_busy(), sum(process.cpu()), time.monotonic()
        time.sleep(IDLE_SECONDS)
        spent, span = sum(process.cpu()) - before, time.monotonic() - start
        busy = machine_busy() - busy
        anonymous, resident, _ = process.memory()
    finally:
        process.stop(signal.SIGINT, STOP_SECONDS)
    return {"ready": ready, "rss": resident / 1024, "anon": anonymous / 1024,
            "idle": 100 * spent / span, "others": max(busy - spent, 0) / span}


class _Client:
    def __init__(self, bench, many):
        self.bench, self.many = bench, many
        self.home = many.home / type(self).__name__.strip("_").lower()
        self.home.mkdir(exist_ok=True)

    def ready(self, process):
        return re.search(r"\bready\b", process.log.read_text(errors="replace"))


class _Peerless(_Client):
    def start(self, first):
        example = tools.file(tools.TARGET / "release/examples/seed_many")
        return Running([example, self.many.torrents, self.many.data, self.home / "state"], self.home)


class _Libtorrent(_Client):
    """After the first run it is told to trust the files, which spares it reading its own records."""

    def start(self, first):
        python = self.bench.contenders["libtorrent"].program
        endpoint = netns.at(self.bench.ip(), self.bench.port())
        trust = "check" if first else "trust"
        command = [python, LIBTORRENT_CLIENT, "idle", self.many.torrents, self.many.data, endpoint, trust]
        return Running(command, self.home)


class _Transmission(_Client):
    """It is asked over its RPC, five times a second."""

    def start(self, first):
        self.rpc_port, self.session, self.asked = self.bench.port(), "", 0
        (self.home / "settings.json").write_text(json.dumps({
            "download-dir": str(self.many.data), "peer-port": self.bench.port(), "preallocation": 0,
            "port-forwarding-enabled": False, "dht-enabled": False, "lpd-enabled": False,
            "utp-enabled": False, "download-queue-enabled": False, "queue-stalled-enabled": False,
            "seed-queue-enabled": False, "rpc-port": self.rpc_port, "rpc-bind-address": "127.0.0.1",
            "rpc-authentication-required": False, "watch-dir-enabled": first,
            "watch-dir": str(self.many.torrents),
        }))
        program = self.bench.contenders["transmission"].program
        return Running([program, "-f", "-g", self.home], self.home)

    def ready(self, process):
        if time.monotonic() - self.asked < 0.2:
            return False
        self.asked = time.monotonic()
        url = f"http://127.0.0.1:{self.rpc_port}/transmission/rpc"
        body = json.dumps({"method": "torrent-get", "arguments": {"fields": ["status"]}}).encode()
        try:
            request = urllib.request.Request(url, body, {SESSION_HEADER: self.session})
            with urllib.request.urlopen(request, timeout=20) as reply:
                torrents = json.load(reply)["arguments"]["torrents"]
        except urllib.error.HTTPError as refusal:
            if refusal.code != 409:
                raise Failed(f"transmission: {refusal}") from refusal
            self.session, self.asked = refusal.headers[SESSION_HEADER], 0
            return False
        except OSError:
            return False  # not up yet
        return len(torrents) == self.many.count and all(t["status"] == STATUS_SEEDING for t in torrents)


CLIENTS = {"peerless": _Peerless, "libtorrent": _Libtorrent, "transmission": _Transmission}
