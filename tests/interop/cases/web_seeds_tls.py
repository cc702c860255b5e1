"""Web seeds over TLS, from nginx: whom the machine trusts is believed, nobody else, and a redirect leads
into TLS but never out of it."""

import payloads
from cases.web_seeds import ALONE, SECONDS, odd, with_seeds
from clients.nginx import Nginx
from runner import case


def _get(lab, torrent, trusts):
    leecher = lab.peerless(trusts=trusts)
    out = leecher.home / "out"
    leecher.download([torrent], out, extra=ALONE)
    leecher.wait_complete(SECONDS)
    torrent.check(out, leecher.label)
    return leecher.summary()


def _fails(lab, torrent, *words, trusts=None):
    """It ends without a copy, and says why."""
    leecher = lab.peerless(trusts=trusts)
    alone = [*ALONE, "--wait-peers", 2, "--bind", leecher.ip]
    done = leecher.run("get", torrent.path, "-o", lab.folder(leecher.label), *alone, code=4)
    for word in words:
        assert word in done.err, (word, done)


@case("web-seeds-tls/alone", cost=2)
def alone(lab):
    """A tree with names that no URL takes, over a few connections that are kept."""
    torrent = odd(lab)
    nginx = Nginx(lab, torrent.home, secure=True)
    summary = _get(lab, with_seeds(torrent, nginx.url), nginx.certificate.path)
    assert (summary["downloaded"], summary["wasted"]) == (torrent.size, 0), summary
    requests, connections = nginx.requests(), nginx.connections()
    assert connections <= 4 and requests > connections, f"{requests} by {connections}"


@case("web-seeds-tls/not-trusted", cost=3)
def not_trusted(lab):
    """A certificate of nobody known, and one of another host: named, and nothing is asked for."""
    torrent = payloads.make(lab.directory, "guarded.bin", 300_000)
    nginx, other = (Nginx(lab, torrent.home, secure=True) for _ in range(2))
    seeded = with_seeds(torrent, nginx.url)
    _fails(lab, seeded, nginx.endpoint, "nobody whom this machine trusts", "SSL_CERT_FILE")
    _fails(lab, seeded, nginx.endpoint, "certificate", trusts=other.certificate.path)
    assert nginx.requests() == 0, nginx.requests()


@case("web-seeds-tls/redirects", cost=4)
def redirects(lab):
    """From http to https, as most servers have it today, is followed; the way back is refused."""
    torrent = payloads.make(lab.directory, "moved.bin", 3_000_001)
    secure = Nginx(lab, torrent.home, secure=True)
    trusts = secure.certificate.path
    host = secure.endpoint.split(":")[0]
    into = Nginx(lab, lab.folder("empty"), ip=host, location=f"return 301 {secure.url}moved.bin;")
    _get(lab, with_seeds(torrent, f"{into.url}moved.bin"), trusts)
    assert secure.requests() > 0
    plain = Nginx(lab, torrent.home, ip=host)
    out_of = Nginx(lab, lab.folder("nothing"), secure=True, location=f"return 302 {plain.url}moved.bin;")
    store = out_of.certificate.path
    seeded = with_seeds(torrent, f"{out_of.url}moved.bin")
    _fails(lab, seeded, out_of.endpoint, "insecure url", trusts=store)
    assert plain.requests() == 0, "it went out of TLS"
