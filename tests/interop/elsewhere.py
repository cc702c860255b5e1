"""Another network with a name server and trackers, which two interfaces of the worker's namespace lead
to; and a capture of what leaves by one of them.

`first0` is what the program under test is bound to. `second0` has the better default route, so that
whatever is not bound leaves by it and reaches the same services.

Run as a program, this file is those services: it writes a line for each question it is asked.
"""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

ADDRESS = "10.88.9.9"
"""Where all services are, whichever way one comes."""

PLACE, ROUTER = "elsewhere", "between"
FIRST, SECOND = "first0", "second0"
HOST = "tracker.test"
NETWORKS = {FIRST: ("10.88.1", 200), SECOND: ("10.88.2", 100)}  # and the metric of its default route
TABLE = "101"
OUTGOING = 4  # PACKET_OUTGOING: what this machine sent
EVERYTHING = 3  # ETH_P_ALL


def _ip(*words):
    done = subprocess.run(["ip", *words], text=True, capture_output=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"


def inside(*argv):
    """The command that runs `argv` in the other network."""
    return ["ip", "netns", "exec", PLACE, *argv]


class Elsewhere:
    """`present`: the interfaces that there are from the start."""

    def __init__(self, lab, present=(FIRST, SECOND)):
        # In this mount namespace alone, so that workers don't meet.
        Path("/run/netns").mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run/netns"], check=True)
        lab.at_end(lambda: subprocess.run(["umount", "/run/netns"], check=True))
        for place in (ROUTER, PLACE):
            _ip("netns", "add", place)
            lab.at_end(lambda place=place: _ip("netns", "del", place))
            _ip("-n", place, "link", "set", "lo", "up")
        forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
        subprocess.run(["ip", "netns", "exec", ROUTER, *forward], check=True)
        # Not on a loopback: libtorrent binds itself to the interface that has its address.
        gate = ADDRESS.rpartition(".")[0] + ".1"
        _ip("-n", ROUTER, "link", "add", "there0", "type", "veth", "peer", "name", "there1", "netns", PLACE)
        for place, name, ip in ((ROUTER, "there0", gate), (PLACE, "there1", ADDRESS)):
            _ip("-n", place, "addr", "add", f"{ip}/24", "dev", name)
            _ip("-n", place, "link", "set", name, "up")
        _ip("-n", PLACE, "route", "add", "default", "via", gate)
        rule = ["from", f"{NETWORKS[FIRST][0]}.1", "lookup", TABLE]
        _ip("rule", "add", *rule)
        lab.at_end(lambda: _ip("rule", "del", *rule))
        for name in present:
            self.connect(name)
        lab.at_end(lambda: [self.disconnect(name) for name in (SECOND, FIRST)])
        servers = lab.directory / "resolv.conf"
        servers.write_text(f"nameserver {ADDRESS}\n")
        real = Path("/etc/resolv.conf").resolve()
        subprocess.run(["mount", "--bind", servers, real], check=True)
        lab.at_end(lambda: subprocess.run(["umount", real], check=True))

    @staticmethod
    def connect(name):
        network, _ = NETWORKS[name]
        other = name.replace("0", "1")
        _ip("link", "add", name, "type", "veth", "peer", "name", other, "netns", ROUTER)
        # The kernel's own packets about IPv6 would be in the capture.
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        _ip("-n", ROUTER, "addr", "add", f"{network}.2/24", "dev", other)
        Elsewhere.raise_up(name)

    @staticmethod
    def raise_up(name):
        """An address, and the way to everywhere; nothing comes in by it before that is whole."""
        network, metric = NETWORKS[name]
        other = name.replace("0", "1")
        _ip("-n", ROUTER, "link", "set", other, "down")
        _ip("addr", "replace", f"{network}.1/24", "dev", name)
        _ip("link", "set", name, "up")
        way = ["default", "via", f"{network}.2", "dev", name]
        _ip("route", "replace", *way, "metric", str(metric))
        if name == FIRST:
            # The kernel itself answers segments of connections that went with an interface. From this
            # address they leave by it; while it is away this table is empty, and forbids nothing.
            _ip("route", "replace", *way, "table", TABLE)
        _ip("-n", ROUTER, "link", "set", other, "up")

    @staticmethod
    def disconnect(name):
        if Path(f"/proc/sys/net/ipv4/conf/{name}").exists():
            _ip("link", "del", name)


class Capture:
    """Counts the packets that leave by an interface, and keeps the beginning of each."""

    def __init__(self, lab, interface):
        self.packets = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        self.socket.bind((interface, EVERYTHING))
        threading.Thread(target=self._run, daemon=True).start()
        lab.at_end(self.socket.close)

    def _run(self):
        with contextlib.suppress(OSError):  # closed at the case's end
            while True:
                packet, (_, _, kind, *_) = self.socket.recvfrom(2048)
                if kind == OUTGOING:
                    self.packets.append(packet[:64])

    def ports(self):
        """Where UDP and TCP packets over IPv4 went."""
        over_ip = [p for p in self.packets if p[12:14] == b"\x08\x00" and p[23] in (6, 17)]
        return {struct.unpack("!H", packet[36:38])[0] for packet in over_ip}


def _say(**what):
    print(json.dumps(what), flush=True)


def _serve_names():
    """Knows one name, and has no IPv6 address for it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((ADDRESS, 53))
    while True:
        query, source = server.recvfrom(512)
        end = query.index(b"\0", 12) + 5
        name, kind = query[12 : end - 5], struct.unpack("!H", query[end - 4 : end - 2])[0]
        known = name == b"\x07tracker\x04test"
        _say(service="dns", source=source[0], known=known, type=kind)
        answers = 1 if known and kind == 1 else 0
        header = query[:2] + (b"\x81\x80" if known else b"\x81\x83")
        header += struct.pack("!HHHH", 1, answers, 0, 0)
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ADDRESS)
        server.sendto(header + query[12:end] + record * answers, source)


def _serve_udp_announces(port, peer):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((ADDRESS, port))
    while True:
        packet, source = server.recvfrom(2048)
        action, transaction = struct.unpack("!II", packet[8:16])
        if action == 0:
            server.sendto(struct.pack("!IIQ", 0, transaction, 7), source)
            continue
        _say(service="udp", source=source[0])
        answer = struct.pack("!IIIII", 1, transaction, 1800, 0, 1)
        server.sendto(answer + socket.inet_aton(peer[0]) + struct.pack("!H", peer[1]), source)


def _serve_http_announces(port, info_hash, peer):
    from trackers.plain import PlainTracker

    class Tracker(PlainTracker):
        def announce(self, query, source):
            _say(service="http", source=source)
            return super().announce(query, source)

    tracker = Tracker(ADDRESS, port)
    tracker._peers[info_hash].add(peer)


def main():
    info_hash, peer_ip, peer_port, http_port, udp_port = sys.argv[1:]
    peer = (peer_ip, int(peer_port))
    _serve_http_announces(int(http_port), info_hash, peer)
    threading.Thread(target=_serve_names, daemon=True).start()
    threading.Thread(target=_serve_udp_announces, args=(int(udp_port), peer), daemon=True).start()
    _say(service="ready")
    threading.Event().wait()


if __name__ == "__main__":
    main()
