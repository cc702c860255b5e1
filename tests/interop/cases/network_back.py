"""Web seeds (nginx) when what was lost comes back, an interface or a proxy: who rests for that is asked
again at once, and who asked to be left alone is not."""

import time

import elsewhere
import payloads
import tools
from cases.proxy import Proxy
from clients.nginx import Nginx
from deadline import until
from elsewhere import ADDRESS, FIRST, Elsewhere
from process import Process
from runner import case

SIZE = 3_000_000
SOON_SECONDS = 6
"""Less than the rest after a second failure in a row, which is 7.5 s at least."""


class NginxElsewhere(Nginx):
    """In the other network."""

    def start(self):
        argv = elsewhere.inside(tools.program("nginx"), "-p", self.home, "-c", self.config)
        self.process = Process(argv, self.home, f"nginx {self.endpoint}")
        until(self._answers, 10, f"{self.process.label} to answer")


def _failures(leecher):
    return [event for event in leecher.events(leecher.get) if event["event"] == "web_seed_failed"]


def _fails(leecher, times):
    def has():
        leecher.get.check_running()
        return len(_failures(leecher)) >= times

    until(has, 30, f"the web seed to have failed {times} times")


def _get(lab, torrent, url, *arguments):
    leecher = lab.peerless(arguments=[*arguments, "--download-limit", "1M"])
    out = lab.folder("out")
    leecher.download([torrent], out, extra=["--no-tracker", "--no-dht", "--web-seed", url])
    part = out / "far.bin"
    until(lambda: part.exists() and part.stat().st_blocks > 500, 20, "a quarter of a megabyte")
    return leecher, out


def _proxy(kind):
    @case(f"network-back/proxy-{kind}", cost=12, seconds=60)
    def proxy_back(lab):
        """The proxy is killed; after two failures in a row the web seed would rest for 7.5 s and more."""
        torrent = payloads.make(lab.directory, "far.bin", SIZE)
        nginx = Nginx(lab, torrent.home)
        proxy = Proxy(lab, kind, {})
        leecher, out = _get(lab, torrent, nginx.url, "--proxy", proxy.url)
        proxy.stop()
        _fails(leecher, 2)
        part = out / "far.bin"
        had = part.stat().st_blocks
        proxy.start()
        until(lambda: part.stat().st_blocks > had, SOON_SECONDS, "more from the web seed")
        leecher.wait_complete(20)
        torrent.check(out, leecher.label)

    return proxy_back


_proxy("dante")
_proxy("tinyproxy")


@case("network-back/interface", cost=10, seconds=60)
def interface(lab):
    """While the interface is away nobody is asked, so that nobody fails; the kept connections with it
    lead nowhere, and are not waited for."""
    world = Elsewhere(lab)
    torrent = payloads.make(lab.directory, "far.bin", SIZE)
    nginx = NginxElsewhere(lab, torrent.home, ip=ADDRESS)
    leecher = lab.peerless()
    out = lab.folder("out")
    words = ["--bind", FIRST, "--no-tracker", "--no-dht", "--allow-private", "--download-limit", "1M"]
    leecher.get = leecher.start("get.log", "get", torrent.path, "-o", out, "--web-seed", nginx.url, *words)
    part = out / "far.bin"
    until(lambda: part.exists() and part.stat().st_blocks > 500, 20, "a quarter of a megabyte")
    elsewhere._ip("link", "del", FIRST)
    leecher.wait_for_event(leecher.get, "network_lost", 5)
    time.sleep(1)  # time in which it would be asked
    had, failed = part.stat().st_blocks, len(_failures(leecher))
    world.connect(FIRST)
    leecher.wait_for_event(leecher.get, "network_back", 5)
    until(lambda: part.stat().st_blocks > had, SOON_SECONDS, "more from the web seed")
    leecher.wait_complete(20)
    torrent.check(out, leecher.label)
    assert failed <= 1, _failures(leecher)  # as the interface went, and not while it was away


@case("network-back/busy", cost=12, seconds=60)
def busy(lab):
    """A server that asked for a rest has it, whatever becomes of the network meanwhile."""
    torrent = payloads.make(lab.directory, "far.bin", SIZE)
    nginx = Nginx(lab, torrent.home)
    again = Nginx(lab, torrent.home, location='add_header Retry-After 600 always; location / { return 503; }')
    proxy = Proxy(lab, "dante", {})
    leecher, out = _get(lab, torrent, nginx.url, "--proxy", proxy.url, "--web-seed", again.url)
    _fails(leecher, 1)
    assert again.requests() >= 1
    rested = again.requests()
    proxy.stop()
    _fails(leecher, 2)
    proxy.start()
    leecher.wait_complete(20)
    torrent.check(out, leecher.label)
    assert again.requests() == rested, "it was to be left alone for ten minutes"
