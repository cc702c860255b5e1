"""Peers by a name that nobody but the proxy can look up, and by one that the system knows."""

import subprocess

import payloads
from behind_proxy import UDP, Far
from clients.peerless import Exit
from runner import case


def _through(kind):
    @case(f"named-peers/{kind}", cost=1)
    def named(lab):
        """`get` by `--peer` and by a link's `x.pe`, and `handshake`: the capture sees no look-up."""
        far = Far(lab, kind, 1_000_000)
        torrent, name = far.torrent, far.name
        leecher = lab.peerless()
        where = ["--bind", leecher.ip, "--proxy", far.proxy.url]
        alone = [*where, "--no-tracker", "--no-dht"]

        answer = leecher.json("handshake", torrent.path, name, *where).json
        assert "libtorrent" in answer["client"].lower() and answer["address"] is None, answer

        by_peer = lab.folder("by-peer")
        said = leecher.json("get", torrent.path, "-o", by_peer, "--peer", name, *alone).lines
        torrent.check(by_peer, leecher.label)
        assert name in [event.get("peer") for event in said], said

        by_link = lab.folder("by-link")
        leecher.run("get", f"{torrent.magnet()}&x.pe={name}", "-o", by_link, *alone)
        torrent.check(by_link, leecher.label)

        listed = lab.directory / "list"
        listed.write_text("192.0.2.0/24\n")
        words = ["get", torrent.path, "-o", lab.folder("filtered"), "--peer", name, *alone]
        refused = leecher.run(*words, "--ip-filter", listed, code=Exit.USAGE)
        assert "can't judge its address" in refused.err, refused

        far.check(leecher)


for _kind in ("dante", "tinyproxy"):
    _through(_kind)


@case("named-peers/handshake-utp-dante", cost=4)
def handshake_by_utp(lab):
    """By its address a peer is reached by uTP through the proxy, too."""
    far = Far(lab, "dante", 50_000, transport="utp")
    asking = lab.peerless()
    words = ["handshake", far.torrent.path, far.seeder.endpoint, "--transport", "utp"]
    answer = asking.json(*words, "--bind", asking.ip, "--proxy", far.proxy.url).json
    assert answer["transport"] == "utp" and "libtorrent" in answer["client"].lower(), answer
    far.check(asking)
    assert far.capture.between(far.proxy.ip, far.seeder.ip) == {UDP}


@case("named-peers/hosts", cost=1)
def hosts(lab):
    """Without a proxy the system looks it up; of its addresses nobody answers at the first."""
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    path = lab.directory / "hosts"
    path.write_text(f"{lab.ip()} seed.test\n{seeder.ip} seed.test\n")
    subprocess.run(["mount", "--bind", path, "/etc/hosts"], check=True)
    lab.at_end(lambda: subprocess.run(["umount", "/etc/hosts"], check=True))
    name = f"seed.test:{seeder.port}"
    leecher = lab.peerless()
    answer = leecher.json("handshake", torrent.path, name, "--transport", "tcp").json
    assert answer["address"] == seeder.endpoint, answer
    for bound in ([], ["--bind", leecher.ip]):
        out = lab.folder(f"out-{len(bound)}")
        words = ["get", torrent.path, "-o", out, "--peer", name, "--no-tracker", "--no-dht", *bound]
        leecher.run(*words)
        torrent.check(out, leecher.label)
