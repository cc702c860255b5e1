"""What shows that a client goes through a proxy alone: dante by SOCKS5 or tinyproxy by HTTP, each with a
password and with names that nobody else can look up, and a capture of every packet.
"""

import os
import socket
import struct
import subprocess
import threading

import netns
import payloads
import tools
from deadline import until
from process import Process

TCP, UDP = 6, 17
USER, PASSWORD = "peerless", "secret"
PASSWORD_HASH = (
    "$6$peerless$I1xlHgC0cOXvWWspgAmQW8JwgFvjTNt3ZFIZwTFqSAvQgJ48oPJjERDWrf5szL5MIPD0jk1VyW7sAE9W8brvg."
)

DANTE = """\
logoutput: stderr
internal: {ip} port = {port}
external: {ip}
clientmethod: none
socksmethod: username
user.privileged: root
user.unprivileged: root
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 command: {commands} }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 command: udpreply }}
"""

TINYPROXY = """\
Listen {ip}
Port {port}
Bind {ip}
BasicAuth {user} {password}
MaxClients 100
Timeout 60
"""


class Proxy:
    """A proxy in a mount namespace whose `/etc/hosts` names the tracker, and that knows one user."""

    def __init__(self, lab, kind, names, commands="connect udpassociate"):
        self.lab, self.kind = lab, kind
        self.ip, self.port = lab.ip(), lab.port()
        self.home = lab.folder(f"{kind}-{self.port}")
        hosts = "".join(f"{ip} {name}\n" for name, ip in names.items())
        mounts = {"/etc/hosts": hosts}
        values = {"ip": self.ip, "port": self.port, "user": USER, "password": PASSWORD}
        values["commands"] = commands
        config = self.home / "proxy.conf"
        if kind == "dante":
            config.write_text(DANTE.format(**values))
            run = f"{tools.program('danted')} -N 1 -f {config}"
            line = f"{USER}:x:65000:65000::/:/bin/false\n"
            mounts["/etc/passwd"] = open("/etc/passwd").read() + line
            mounts["/etc/shadow"] = f"{USER}:{PASSWORD_HASH}:19000:0:99999:7:::\n"
        else:
            config.write_text(TINYPROXY.format(**values))
            run = f"{tools.program('tinyproxy')} -d -c {config}"
        binds = []
        for path, text in mounts.items():
            mine = self.home / os.path.basename(path)
            mine.write_text(text)
            binds.append(f"mount --bind {mine} {path}")
        script = " && ".join([*binds, f"exec {run}"])
        # Its children end with it.
        self.argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        lab.at_end(self.stop)
        self.start()

    @property
    def url(self):
        scheme = "socks5" if self.kind == "dante" else "http"
        return f"{scheme}://{USER}:{PASSWORD}@{netns.at(self.ip, self.port)}"

    def start(self):
        self.process = Process(self.argv, self.home, f"{self.kind}-{self.port}")

        def answers():
            self.process.check_running()
            with socket.socket() as probe:
                return probe.connect_ex((self.ip, self.port)) == 0

        until(answers, 15, f"{self.kind} to listen")

    def stop(self):
        self.process.kill()


class Capture:
    """Every packet of IP on the loopback, as (from, to, protocol, port from, port to)."""

    def __init__(self, lab):
        self.packets = set()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.1)
        self._over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        lab.at_end(self.stop)

    def _listen(self):
        while not self._over:
            try:
                frame = self._socket.recv(2048)
            except TimeoutError:
                continue
            kind = struct.unpack("!H", frame[12:14])[0]
            if kind == 0x0800:
                at = 14 + 4 * (frame[14] & 15)
                addresses = [socket.inet_ntoa(frame[n : n + 4]) for n in (26, 30)]
                protocol = frame[23]
            elif kind == 0x86DD:
                at = 14 + 40
                addresses = [socket.inet_ntop(socket.AF_INET6, frame[n : n + 16]) for n in (22, 38)]
                protocol = frame[20]
            else:
                continue
            ports = struct.unpack("!HH", frame[at : at + 4]) if protocol in (6, 17) else (0, 0)
            self.packets.add((*addresses, protocol, *ports))

    def stop(self):
        self._over = True
        self._thread.join()
        self._socket.close()

    def between(self, one, other):
        """The protocols of what two addresses sent each other."""
        return {packet[2] for packet in set(self.packets) if {one, other} == set(packet[:2])}

    def check(self, ours, proxy, others):
        """Whatever `ours` (an address) sent or got was the proxy's, and so was what `others` (endpoints)
        sent or got. Nobody was asked for a name."""
        packets = set(self.packets)
        assert any(ours in packet[:2] for packet in packets), "nothing was captured"
        for packet in packets:
            source, target, _, source_port, target_port = packet
            if ours in (source, target):
                assert proxy.ip in (source, target), f"past the proxy: {packet}"
            for endpoint in others:
                if endpoint in ((source, source_port), (target, target_port)):
                    assert proxy.ip in (source, target), f"past the proxy: {packet}"
            assert 53 not in (source_port, target_port), f"a look-up: {packet}"


def name_server(lab):
    """Have names looked up at an address of the loopback, where the capture would see it."""
    path = lab.directory / "resolv.conf"
    path.write_text(f"nameserver {lab.ip()}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)
    lab.at_end(lambda: subprocess.run(["umount", "/etc/resolv.conf"], check=True))


class Far:
    """A torrent that a libtorrent seeds, a proxy that knows it as `seed.test`, and a capture."""

    def __init__(self, lab, kind, size, *, transport=None, names=None, commands="connect udpassociate"):
        name_server(lab)
        self.torrent = payloads.make(lab.directory, "far.bin", size)
        self.seeder = lab.client("libtorrent", **({"transport": transport} if transport else {}))
        self.seeder.seed([self.torrent], self.torrent.home)
        names = {"seed.test": self.seeder.ip, **(names or {})}
        self.name = f"seed.test:{self.seeder.port}"
        self.proxy = Proxy(lab, kind, names, commands)
        self.capture = Capture(lab)
        self.others = [netns.split(self.seeder.endpoint)]

    def check(self, client):
        """All that `client` and those at the far end sent or got went through the proxy."""
        self.capture.check(client.ip, self.proxy, self.others)
