"""A small HTTP tracker inside the suite, for cases that are not about trackers.

It hands out the peers it was told about (`introduce`) and those that announced, and keeps a record
of every announce for cases that ask what a client said.
"""

import contextlib
import http.server
import socket
import struct
import threading
import urllib.parse
from collections import defaultdict

import bencode
import netns

INTERVAL_SECONDS = 1800
MIN_INTERVAL_SECONDS = 5


class PlainTracker:
    def __init__(self, ip, port):
        self.url = f"http://{netns.at(ip, port)}/announce"
        self.announces = []  # of dict: the query's fields as text, and `from`
        self._peers = defaultdict(set)  # info hash -> (ip, port)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"tracker": self})
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        server = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
        self._server = server((ip, port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def introduce(self, torrents, seeders):
        """From now on, tell whoever asks for `torrents` where `seeders` serve them."""
        with self._lock:
            for torrent in torrents:
                known = self._peers[torrent.info_hash]
                known |= {netns.split(seeder.serving(torrent)) for seeder in seeders}

    def forget(self, torrents):
        """From now on, know nobody who has `torrents`."""
        with self._lock:
            for torrent in torrents:
                self._peers.pop(torrent.info_hash, None)

    def announce(self, query, source):
        # A plus sign stands for itself in an info hash, not for a space.
        query = query.replace("+", "%2B")
        fields = urllib.parse.parse_qs(query, encoding="latin-1", keep_blank_values=True)
        fields = {key: values[0] for key, values in fields.items()}
        info_hash = fields.get("info_hash", "").encode("latin-1").hex()
        me = (source, int(fields.get("port", 0)))
        with self._lock:
            self.announces.append(fields | {"info_hash": info_hash, "from": source})
            peers = self._peers[info_hash]
            others = [peer for peer in peers if peer != me]
            if fields.get("event") == "stopped":
                peers.discard(me)
            elif me[1]:
                peers.add(me)
        reply = {
            "interval": INTERVAL_SECONDS,
            "min interval": MIN_INTERVAL_SECONDS,
            "peers": b"".join(_compact(p) for p in others if ":" not in p[0]),
            "peers6": b"".join(_compact(p) for p in others if ":" in p[0]),
        }
        return bencode.encode(reply)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def _compact(peer):
    ip, port = peer
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.inet_pton(family, ip) + struct.pack(">H", port)


class _Handler(http.server.BaseHTTPRequestHandler):
    tracker = None

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        if parts.path != "/announce":
            self.send_error(404)
            return
        body = self.tracker.announce(parts.query, self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # who says goodbye may not wait for an answer
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass
