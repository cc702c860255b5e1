"""Bound to an interface nothing leaves by another, names included, though it is taken away in the middle
of a download and the other would reach everybody; and with it back the download completes."""

import json
import signal
import sys
import time
from pathlib import Path

import elsewhere
import payloads
from clients.libtorrent_client import Libtorrent
from clients.peerless import Exit
from deadline import until
from elsewhere import ADDRESS, FIRST, HOST, SECOND, Capture, Elsewhere
from process import Process, run
from runner import case

SIZE = 3_000_000
RATE = 700_000
ABSENT_SECONDS = 2.5


class Seeder(Libtorrent):
    """In the other network, with a DHT node."""

    def __init__(self, lab):
        super().__init__(lab, dht="", as_shipped=True, local_discovery=True)

    def _start(self):
        self.ip = ADDRESS
        config = json.loads(self.argv[2]) | {"listen_interfaces": self.endpoint}
        config["outgoing_interfaces"] = ADDRESS
        self.argv = elsewhere.inside(*map(str, [*self.argv[:2], json.dumps(config), *self.argv[3:]]))
        super()._start()


class World:
    def __init__(self, lab, **network):
        self.lab = lab
        self.network = Elsewhere(lab, **network)
        torrent = payloads.make(lab.directory, "bound.bin", SIZE)
        self.seeder = Seeder(lab)
        lab.at_end(self.seeder.stop)
        self.seeder.seed([torrent], torrent.home, upload_limit=RATE)
        http, udp = lab.port(), lab.port()
        argv = [sys.executable, elsewhere.__file__, torrent.info_hash, ADDRESS]
        argv += [str(port) for port in (self.seeder.port, http, udp)]
        self.services = Process(elsewhere.inside(*argv), lab.folder("services"), "services")
        lab.at_end(lambda: self.services.stop())
        until(lambda: self.asked("ready") or not self.services.check_running(), 10, "the services")
        trackers = [f"http://{HOST}:{http}/announce", f"udp://{HOST}:{udp}/announce"]
        self.torrent = torrent.announcing(*trackers)
        self.capture = Capture(lab, SECOND)

    def asked(self, service):
        lines = self.services.log.read_text(errors="replace").splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in said if line["service"] == service]

    def get(self, *arguments):
        """`get` with everything that finds peers."""
        leecher = self.lab.peerless()
        self.out, self.port = self.lab.folder("out"), self.lab.port()
        words = [self.torrent.path, "-o", self.out, "--local-discovery", "--port", self.port]
        words += ["--dht-bootstrap", f"{HOST}:{self.seeder.port}", "--allow-private", *arguments]
        leecher.get = leecher.start("get.log", "get", *words)
        return leecher

    def comes_in(self, leecher, only_udp):
        """Who is elsewhere reaches its TCP port and its UDP port."""
        us = f"{elsewhere.NETWORKS[FIRST][0]}.1:{self.port}"
        shake = ["handshake", self.torrent.path, us]
        for words in ([] if only_udp else [shake]) + [["dht", "ping", us]]:
            argv = elsewhere.inside(self.lab.peerless_path, *words)
            done = run(argv, leecher.home, 15)
            assert done.code == Exit.DONE, done


def _has_some(leecher, out):
    """In the middle of it: something was written, and not all."""
    file = Path(out) / "bound.bin"
    leecher.get.check_running()
    return file.exists() and 0 < file.stat().st_blocks * 512 < SIZE


def _goes_and_comes(name, transport, take, give):
    @case(f"binding/interface-{name}", cost=12, seconds=90)
    def goes_and_comes(lab):
        world = World(lab)
        leecher = world.get("--bind", FIRST, "--transport", transport)
        until(lambda: _has_some(leecher, world.out), 20, "the first pieces")
        for service in ("dns", "http", "udp"):
            until(lambda: world.asked(service), 10, f"a question to the {service} service")
        leecher.wait_for_event(leecher.get, "dht_reply", 20)
        leecher.get.send(signal.SIGUSR1)
        sockets = leecher.wait_for_event(leecher.get, "sockets", 5)["sockets"]
        assert {"tcp listener", "udp"} <= {socket["protocol"] for socket in sockets}, sockets
        assert {"peers", "utp and dht", "local discovery"} <= {it["purpose"] for it in sockets}
        assert all(socket["interface"] == FIRST for socket in sockets), sockets

        take()
        lost = leecher.wait_for_event(leecher.get, "network_lost", 5)
        assert FIRST in lost["message"] and "bring it up" in lost["message"], lost
        # Who comes now is told so, and sends nothing.
        words = ["handshake", world.torrent.path, world.seeder.endpoint, "--bind", FIRST]
        told = leecher.run(*words, code=Exit.CANNOT_CONNECT)
        assert FIRST in told.err, told
        words = ["peers", world.torrent.path, "--bind", FIRST, "--timeout", 2, "--allow-private"]
        told = leecher.run(*words, code=Exit.NO_PEERS)
        assert FIRST in told.out, told
        time.sleep(ABSENT_SECONDS)  # long enough for retries and for packets that are overdue
        leecher.get.check_running()

        give(world.network)
        leecher.wait_for_event(leecher.get, "network_back", 5)
        world.comes_in(leecher, transport == "utp")
        leecher.wait_complete(40)
        world.torrent.check(world.out, leecher.label)
        seen = world.capture.packets
        assert not seen, f"{len(seen)} packets left by {SECOND}, to ports {world.capture.ports()}: {[packet.hex() for packet in seen]}"


def _ip(*words):
    return lambda *_: elsewhere._ip(*words)


_goes_and_comes(
    "deleted", "tcp", _ip("link", "del", FIRST), lambda network: network.connect(FIRST)
)
_goes_and_comes(
    "deleted-utp", "utp", _ip("link", "del", FIRST), lambda network: network.connect(FIRST)
)
_goes_and_comes(
    "down", "both", _ip("link", "set", FIRST, "down"), lambda network: network.raise_up(FIRST)
)
_goes_and_comes(
    "without-address", "tcp", _ip("addr", "flush", "dev", FIRST),
    lambda network: network.raise_up(FIRST),
)


def _comes_late(name, bind):
    @case(f"binding/late-{name}", cost=8, seconds=60)
    def comes_late(lab):
        """What it is bound to comes up when it runs already: until then it sends nothing and says why."""
        world = World(lab, present=(SECOND,))
        leecher = world.get("--bind", bind)
        words = [world.torrent.path, "-o", lab.folder("waits"), "--bind", bind, "--wait-peers", 1]
        waits = leecher.start("waits.log", "get", *words)
        lab.at_end(waits.stop)
        lost = leecher.wait_for_event(leecher.get, "network_lost", 10)
        named = SECOND if bind == FIRST else elsewhere.NETWORKS[SECOND][0]
        assert bind in lost["message"] and named in lost["message"], lost
        shown = leecher.run("network", "--bind", bind, code=Exit.DONE)
        assert "Not there" in shown.out and bind in shown.out, shown
        words = ["explain", world.torrent.path, "--bind", bind, "--for", 2, "-o", lab.folder("why")]
        why = leecher.run(*words, code=Exit.DONE)
        assert bind in why.out, why
        for words, code in ((["dht", "ping", world.seeder.endpoint], Exit.FAILED),
                            (["handshake", world.torrent.path, world.seeder.endpoint], Exit.CANNOT_CONNECT)):
            told = leecher.run(*words, "--bind", bind, code=code)
            assert bind in told.err, told
        waits.check_running()  # its patience for peers does not run out without a network
        waits.stop()
        assert not world.asked("http") and not world.asked("dns")

        world.network.connect(FIRST)
        leecher.wait_for_event(leecher.get, "network_back", 5)
        leecher.wait_for_event(leecher.get, "dht_reply", 20)
        world.comes_in(leecher, False)
        leecher.wait_complete(40)
        world.torrent.check(world.out, leecher.label)
        seen = world.capture.packets
        assert not seen, f"{len(seen)} packets left by {SECOND}, to ports {world.capture.ports()}"

    return comes_late


_comes_late("interface", FIRST)
_comes_late("address", f"{elsewhere.NETWORKS[FIRST][0]}.1")


@case("binding/unbound-is-seen", cost=8, seconds=60)
def unbound(lab):
    """The capture sees what is not bound: without it the cases above would prove nothing."""
    world = World(lab)
    leecher = world.get()
    leecher.wait_for_event(leecher.get, "dht_reply", 20)
    leecher.wait_complete(40)
    world.torrent.check(world.out, leecher.label)
    ports = world.capture.ports()
    assert {53, 6771, world.seeder.port} <= ports, ports
    assert all(line["source"].startswith("10.88.2.") for line in world.asked("http"))
