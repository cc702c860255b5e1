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
    """Relays to a client's endpoint; what comes back is held to `rate`. `serving` is where it is.

    `seconds` is its own clock: how long it took for what it has carried. A machine that has other things
    to do stops it as well.
    """

    def __init__(self, lab, client, torrent, rate):
        self.target = netns.split(client.serving(torrent))
        self.rate = rate
        self._carried_bytes = 0
        self._counting = threading.Lock()
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
                for way in [(near, far, None), (far, near, self.rate)]:
                    threading.Thread(target=self._relay, args=way, daemon=True).start()

    @property
    def seconds(self):
        return self._carried_bytes / self.rate

    def stop(self):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _relay(self, source, sink, rate):
        quantum = int(rate * QUANTUM_SECONDS) if rate else QUEUE_BYTES
        free_at = time.monotonic()
        with contextlib.suppress(OSError):
            while data := source.recv(quantum):
                if rate:
                    free_at = max(free_at, time.monotonic()) + len(data) / rate
                    time.sleep(max(0, free_at - time.monotonic()))
                    with self._counting:
                        self._carried_bytes += len(data)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
