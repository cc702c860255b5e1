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
# What a web seed rests after its first failure in a row, the second and the third.
FIRST_REST_MAX, SECOND_REST_MIN, THIRD_REST_MIN = 6.25, 7.5, 15


class NginxElsewhere(Nginx):
    """In the other network."""

    def start(self):
        argv = elsewhere.inside(tools.program("nginx"), "-p", self.home, "-c", self.config)
        self.process = Process(argv, self.home, f"nginx {self.endpoint}")
        until(self._answers, 10, f"{self.process.label} to answer")


def _said(leecher, name):
    return [event for event in leecher.events(leecher.get) if event["event"] == name]


def _says(leecher, name, times, seconds=30):
    """The last of so many events of that name."""

    def has():
        leecher.get.check_running()
        return _said(leecher, name)[times - 1 :]

    return until(has, seconds, f"{times} {name}")[-1]


def _get(lab, torrent, url, *arguments):
    leecher = lab.peerless(arguments=[*arguments, "--download-limit", "1M"])
    out = lab.folder("out")
    leecher.download([torrent], out, extra=["--no-tracker", "--no-dht", "--web-seed", url])
    part = out / "far.bin"
    until(lambda: part.exists() and part.stat().st_blocks > 500, 20, "a quarter of a megabyte")
    return leecher, out


def _more(part, had, before):
    """Waits for more of it from the web seed, before that moment."""
    until(lambda: part.stat().st_blocks > had, before - time.monotonic(), "more before the rest is over")


def _proxy(kind):
    @case(f"network-back/proxy-{kind}", cost=18, seconds=90)
    def proxy_back(lab):
        """Two failures are the server's own, and the third is the proxy's: it is tried 1, 3 and 7 seconds
        after that, while the web seed would rest for 15 seconds and more."""
        torrent = payloads.make(lab.directory, "far.bin", SIZE)
        nginx = Nginx(lab, torrent.home)
        # One that is to relay datagrams is tried for them too, and from another moment on.
        proxy = Proxy(lab, kind, {}, commands="connect")
        leecher, out = _get(lab, torrent, nginx.url, "--proxy", proxy.url)
        nginx.stop()
        _says(leecher, "web_seed_failed", 2)
        part = out / "far.bin"
        had = part.stat().st_blocks
        proxy.stop()
        nginx.start()
        failed = _says(leecher, "web_seed_failed", 3)
        rests_until = time.monotonic() + THIRD_REST_MIN
        assert "can't reach the proxy" in failed["message"], failed
        proxy.start()
        _more(part, had, rests_until - 1)
        leecher.wait_complete(20)
        torrent.check(out, leecher.label)

    return proxy_back


_proxy("dante")
_proxy("tinyproxy")


@case("network-back/interface", cost=16, seconds=90)
def interface(lab):
    """Who rests for 7.5 seconds and more is asked at once when the interface is back. While it is away
    nobody is asked, so that nobody fails; the kept connections with it lead nowhere, and are not waited
    for."""
    world = Elsewhere(lab)
    torrent = payloads.make(lab.directory, "far.bin", 2 * SIZE)
    nginx = NginxElsewhere(lab, torrent.home, ip=ADDRESS)
    leecher = lab.peerless()
    out = lab.folder("out")
    words = ["--bind", FIRST, "--no-tracker", "--no-dht", "--allow-private", "--download-limit", "1M"]
    leecher.get = leecher.start("get.log", "get", torrent.path, "-o", out, "--web-seed", nginx.url, *words)
    part = out / "far.bin"
    until(lambda: part.exists() and part.stat().st_blocks > 500, 20, "a quarter of a megabyte")
    nginx.stop()
    _says(leecher, "web_seed_failed", 2)
    rests_until = time.monotonic() + SECOND_REST_MIN
    had = part.stat().st_blocks
    nginx.start()
    world.disconnect(FIRST)
    _says(leecher, "network_lost", 1, 5)
    world.connect(FIRST)
    _says(leecher, "network_back", 1, 5)
    _more(part, had, rests_until - 0.5)

    world.disconnect(FIRST)
    _says(leecher, "network_lost", 2, 5)
    time.sleep(FIRST_REST_MAX + 1)  # time in which it would be asked
    had, failed = part.stat().st_blocks, len(_said(leecher, "web_seed_failed"))
    world.connect(FIRST)
    _says(leecher, "network_back", 2, 5)
    _more(part, had, time.monotonic() + 6)
    leecher.wait_complete(20)
    torrent.check(out, leecher.label)
    assert failed <= 3, _said(leecher, "web_seed_failed")  # as the interface went, and not while it was away


@case("network-back/busy", cost=12, seconds=60)
def busy(lab):
    """A server that asked for a rest has it, whatever becomes of the network meanwhile."""
    torrent = payloads.make(lab.directory, "far.bin", SIZE)
    nginx = Nginx(lab, torrent.home)
    again = Nginx(lab, torrent.home, location='add_header Retry-After 600 always; location / { return 503; }')
    proxy = Proxy(lab, "dante", {})
    leecher, out = _get(lab, torrent, nginx.url, "--proxy", proxy.url, "--web-seed", again.url)
    _says(leecher, "web_seed_failed", 1)
    assert again.requests() >= 1
    rested = again.requests()
    proxy.stop()
    _says(leecher, "web_seed_failed", 2)
    proxy.start()
    leecher.wait_complete(20)
    torrent.check(out, leecher.label)
    assert again.requests() == rested, "it was to be left alone for ten minutes"
