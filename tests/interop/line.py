"""A line of so many bytes a second to a client, as steady as a modem's.

The clients' own limits let a burst through every half second, or begin with a trickle: no place to
measure how soon something comes.
"""

import contextlib
import socket
import threading
import time

import netns

QUANTUM_SECONDS = 0.01
QUEUE_BYTES = 64 * 1024
"""What the line itself holds: a sixteenth of a second at a megabyte a second."""


class Line:
    """Relays to a client's endpoint; what comes back is held to `rate`. `serving` is where it is."""

    def __init__(self, lab, client, torrent, rate):
        self.target = netns.split(client.serving(torrent))
        self.rate = rate
        self.endpoint = netns.at(lab.ip(), lab.port())
        self._listener = socket.create_server(netns.split(self.endpoint))
        self._sockets = [self._listener]
        lab.at_end(self.stop)
        threading.Thread(target=self._accept, daemon=True).start()

    def serving(self, _torrent):
        return self.endpoint

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)
                near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE_BYTES)
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [near, far]
                far.connect(self.target)
                for source, sink, rate in [(near, far, None), (far, near, self.rate)]:
                    relay = threading.Thread(target=_relay, args=(source, sink, rate), daemon=True)
                    relay.start()

    def stop(self):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _relay(source, sink, rate):
    quantum = int(rate * QUANTUM_SECONDS) if rate else QUEUE_BYTES
    free_at = time.monotonic()
    with contextlib.suppress(OSError):
        while data := source.recv(quantum):
            if rate:
                free_at = max(free_at, time.monotonic()) + len(data) / rate
                time.sleep(max(0, free_at - time.monotonic()))
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
