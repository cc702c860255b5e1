"""Through a proxy alone: dante by SOCKS5 and tinyproxy by HTTP, each with a password. Trackers, web seeds
and DHT nodes have names that nobody but the proxy can look up, and a capture of every packet shows that
none goes past it.
"""

import os
import socket
import struct
import subprocess
import threading
import time

import netns
import payloads
import tools
from clients.nginx import Nginx
from clients.peerless import Exit
from deadline import until
from process import Process
from runner import case
from trackers.opentracker import Opentracker
from trackers.plain import PlainTracker

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


def _name_server(lab):
    """Have names looked up at an address of the loopback, where the capture would see it."""
    path = lab.directory / "resolv.conf"
    path.write_text(f"nameserver {lab.ip()}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)
    lab.at_end(lambda: subprocess.run(["umount", "/etc/resolv.conf"], check=True))


class _World:
    def __init__(self, lab, kind, size):
        _name_server(lab)
        tracker_ip, tracker_port = lab.ip(), lab.port()
        tracker = PlainTracker(tracker_ip, tracker_port)
        lab.at_end(tracker.stop)
        torrent = payloads.make(lab.directory, "far.bin", size)
        self.torrent = torrent.announcing(f"http://tracker.test:{tracker_port}/announce")
        self.seeder = lab.client("libtorrent")
        self.seeder.seed([torrent], torrent.home)
        tracker.introduce([torrent], [self.seeder])
        self.tracker = tracker
        self.proxy = Proxy(lab, kind, {"tracker.test": tracker_ip})
        self.others = [netns.split(self.seeder.endpoint), (tracker_ip, tracker_port)]
        self.capture = Capture(lab)

    def check(self, leecher):
        self.capture.check(leecher.ip, self.proxy, self.others)


def _with(kind):
    @case(f"proxy/get-{kind}", cost=2)
    def get(lab):
        world = _World(lab, kind, 3_000_000)
        leecher = lab.peerless(arguments=["--proxy", world.proxy.url])
        out = lab.folder("out")
        leecher.download([world.torrent], out)
        leecher.wait_complete(30)
        world.torrent.check(out, leecher.label)
        world.check(leecher)
        assert {announce["from"] for announce in world.tracker.announces} == {world.proxy.ip}
        assert {announce["port"] for announce in world.tracker.announces} == {"0"}
        assert PASSWORD not in leecher.get.log.read_text().split("\n", 1)[1]

    @case(f"proxy/wrong-password-{kind}", cost=1)
    def wrong_password(lab):
        world = _World(lab, kind, 100_000)
        url = world.proxy.url.replace(PASSWORD, "guessed")
        leecher = lab.peerless()
        peer = world.seeder.endpoint
        arguments = ["handshake", world.torrent.path, peer, "--proxy", url, "--bind", leecher.ip]
        done = leecher.run(*arguments, code=Exit.CANNOT_CONNECT)
        assert "refused the user or the password" in done.err, done.err
        assert "guessed" not in done.err, done.err
        arguments[4] = world.proxy.url
        leecher.run(*arguments)
        world.check(leecher)

    @case(f"proxy/killed-{kind}", seconds=90, cost=14)
    def killed(lab):
        """Half-way the proxy is gone: nothing is sent past it, and it goes on when it is back."""
        world = _World(lab, kind, 3_000_000)
        leecher = lab.peerless(arguments=["--proxy", world.proxy.url, "--download-limit", "1M"])
        out = lab.folder("out")
        leecher.download([world.torrent], out)
        part = out / "far.bin"
        until(lambda: part.exists() and part.stat().st_blocks > 1000, 20, "half a megabyte")
        world.proxy.stop()
        leecher.wait_for_event(leecher.get, "peer_disconnected", 20)
        time.sleep(1)  # time in which a client that gets around it would have
        world.check(leecher)
        assert leecher.get.running
        world.proxy.start()
        leecher.wait_complete(60)
        world.torrent.check(out, leecher.label)
        world.check(leecher)


    @case(f"proxy/web-seed-{kind}", cost=1)
    def web_seed(lab):
        """A web seed by a name, and nobody else who has the torrent."""
        _name_server(lab)
        torrent = payloads.make(lab.directory, "far.bin", 3_000_000)
        nginx = Nginx(lab, torrent.home)
        ip, port = netns.split(nginx.endpoint)
        proxy = Proxy(lab, kind, {"web.test": ip})
        leecher = lab.peerless(arguments=["--proxy", proxy.url])
        capture = Capture(lab)
        out = lab.folder("out")
        url = f"http://web.test:{port}/"
        leecher.download([torrent], out, extra=["--no-tracker", "--no-dht", "--web-seed", url])
        leecher.wait_complete(30)
        torrent.check(out, leecher.label)
        capture.check(leecher.ip, proxy, [(ip, port)])


for _kind in ("dante", "tinyproxy"):
    _with(_kind)


@case("proxy/utp", cost=2)
def utp(lab):
    """uTP alone, from libtorrent, by datagrams that dante relays."""
    torrent = payloads.make(lab.directory, "far.bin", 5_000_000)
    seeder = lab.client("libtorrent", transport="utp")
    seeder.seed([torrent], torrent.home)
    proxy = Proxy(lab, "dante", {})
    leecher = lab.peerless(arguments=["--proxy", proxy.url, "--no-tracker"], transport="utp")
    capture = Capture(lab)
    out = lab.folder("out")
    leecher.download([torrent], out, [seeder])
    leecher.wait_complete(40)
    torrent.check(out, leecher.label)
    capture.check(leecher.ip, proxy, [netns.split(seeder.endpoint)])
    assert capture.between(proxy.ip, seeder.ip) == {UDP}


@case("proxy/dht", cost=10, seconds=90)
def dht(lab):
    """The DHT by a node that only dante can look up: an item, and a torrent's peer by it alone."""
    _name_server(lab)
    node = lab.client("libtorrent", dht="")
    node.status()  # it is up
    torrent = payloads.make(lab.directory, "far.bin", 500_000)
    seeder = lab.client("libtorrent", dht=node.endpoint)
    seeder.seed([torrent], torrent.home)
    proxy = Proxy(lab, "dante", {"node.test": node.ip})
    others = [netns.split(client.endpoint) for client in (node, seeder)]
    named = f"node.test:{others[0][1]}"
    capture = Capture(lab)
    user = lab.peerless()
    where = ["--bind", user.ip, "--proxy", proxy.url, "--dht-bootstrap", named]
    stored = user.json("dht", "put", "Hello World!", *where).json
    assert stored["nodes"] >= 1, stored
    got = user.json("dht", "get", stored["target"], *where).json
    assert got["text"] == "Hello World!", got
    capture.check(user.ip, proxy, [])
    leecher = lab.peerless(arguments=["--proxy", proxy.url, "--no-tracker", "--dht-bootstrap", named])
    out = lab.folder("out")
    leecher.download([torrent], out)
    leecher.wait_complete(60)
    torrent.check(out, leecher.label)
    for client in (user, leecher):
        touched = {packet for packet in set(capture.packets) if client.ip in packet[:2]}
        assert touched and all(proxy.ip in packet[:2] for packet in touched), touched
    assert UDP in capture.between(proxy.ip, node.ip)


@case("proxy/no-datagrams", cost=2)
def no_datagrams(lab):
    """A proxy that relays none leaves uTP and the DHT off, says so, and TCP goes on."""
    torrent = payloads.make(lab.directory, "far.bin", 500_000)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    proxy = Proxy(lab, "dante", {}, commands="connect")
    slow = ["--download-limit", "200K"]  # the proxy has answered before that is over
    leecher = lab.peerless(arguments=["--proxy", proxy.url, "--no-tracker", *slow])
    capture = Capture(lab)
    out = lab.folder("out")
    leecher.download([torrent], out, [seeder], extra=["--dht-bootstrap", "192.0.2.1:6881"])
    lost = leecher.wait_for_event(leecher.get, "relay_lost", 20)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)
    assert [event["event"] for event in leecher.events(leecher.get)].count("relay_lost") == 1
    assert "does not relay datagrams" in lost["message"], lost
    assert "uTP and the DHT are off" in lost["message"], lost
    capture.check(leecher.ip, proxy, [netns.split(seeder.endpoint)])
    assert capture.between(leecher.ip, proxy.ip) == {TCP}
    words = ["dht", "get", "ab" * 20, "--bind", leecher.ip, "--proxy"]
    refused = leecher.run(*words, proxy.url, code=Exit.NO_PEERS)
    assert "does not relay datagrams" in refused.err, refused
    http = Proxy(lab, "tinyproxy", {})
    refused = leecher.run(*words, http.url, code=Exit.USAGE)
    assert "can't go through the proxy" in refused.err, refused
    assert capture.between(leecher.ip, http.ip) <= {TCP}


@case("proxy/udp-tracker", cost=1)
def udp_tracker(lab):
    """A UDP tracker with a name: dante looks it up and relays the datagrams; tinyproxy can't."""
    _name_server(lab)
    torrent = payloads.make(lab.directory, "far.bin", 100_000)
    tracker = Opentracker(lab, [torrent])
    names = {"tracker.test": tracker.ip}
    proxy = Proxy(lab, "dante", names)
    torrent = torrent.announcing(f"udp://tracker.test:{tracker.port}/announce")
    asking = lab.peerless()
    capture = Capture(lab)
    arguments = ["peers", torrent.path, "--bind", asking.ip, "--proxy"]
    answer = asking.json(*arguments, proxy.url).json
    # It lists who announced, by the address that it saw.
    assert answer["peers"] == [netns.at(proxy.ip, 6881)], answer
    capture.check(asking.ip, proxy, [(tracker.ip, tracker.port)])

    http = Proxy(lab, "tinyproxy", names)
    failed = asking.run(*arguments, http.url, code=Exit.NO_PEERS)
    assert "datagrams can't go through the proxy" in failed.out + failed.err, failed
    packets = {p for p in set(capture.packets) if asking.ip in p[:2] and p[2] == 17}
    assert all(proxy.ip in packet[:2] for packet in packets), packets
