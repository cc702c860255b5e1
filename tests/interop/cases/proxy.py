"""Through a proxy alone: dante by SOCKS5 and tinyproxy by HTTP, each with a password. Trackers, web seeds
and DHT nodes have names that nobody but the proxy can look up, and a capture of every packet shows that
none goes past it.
"""

import time

import netns
import payloads
from behind_proxy import PASSWORD, TCP, UDP, Capture, Far, Proxy, name_server
from clients.nginx import Nginx
from clients.peerless import Exit
from deadline import until
from runner import case
from trackers.opentracker import Opentracker
from trackers.plain import PlainTracker


class _World(Far):
    """And a tracker, which has a name too."""

    def __init__(self, lab, kind, size):
        ip, port = lab.ip(), lab.port()
        self.tracker = PlainTracker(ip, port)
        lab.at_end(self.tracker.stop)
        super().__init__(lab, kind, size, names={"tracker.test": ip})
        self.tracker.introduce([self.torrent], [self.seeder])
        self.torrent = self.torrent.announcing(f"http://tracker.test:{port}/announce")
        self.others.append((ip, port))


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
        name_server(lab)
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
    far = Far(lab, "dante", 5_000_000, transport="utp")
    leecher = lab.peerless(arguments=["--proxy", far.proxy.url, "--no-tracker"], transport="utp")
    out = lab.folder("out")
    leecher.download([far.torrent], out, [far.seeder])
    leecher.wait_complete(40)
    far.torrent.check(out, leecher.label)
    far.check(leecher)
    assert far.capture.between(far.proxy.ip, far.seeder.ip) == {UDP}


@case("proxy/dht", cost=10, seconds=90)
def dht(lab):
    """The DHT by a node that only dante can look up: an item, and a torrent's peer by it alone."""
    name_server(lab)
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
    far = Far(lab, "dante", 500_000, commands="connect")
    proxy, capture = far.proxy, far.capture
    slow = ["--download-limit", "200K"]  # the proxy has answered before that is over
    leecher = lab.peerless(arguments=["--proxy", proxy.url, "--no-tracker", *slow])
    out = lab.folder("out")
    leecher.download([far.torrent], out, [far.seeder], extra=["--dht-bootstrap", "192.0.2.1:6881"])
    lost = leecher.wait_for_event(leecher.get, "relay_lost", 20)
    leecher.wait_complete(30)
    far.torrent.check(out, leecher.label)
    assert [event["event"] for event in leecher.events(leecher.get)].count("relay_lost") == 1
    assert "does not relay datagrams" in lost["message"], lost
    assert "uTP and the DHT are off" in lost["message"], lost
    far.check(leecher)
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
    name_server(lab)
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
