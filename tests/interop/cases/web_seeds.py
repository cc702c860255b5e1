"""Web seeds (BEP 19) from a real web server: torrents with no peers at all, and beside peers."""

import bencode
import payloads
from clients.nginx import Nginx
from deadline import until
from runner import case

ALONE = ["--no-tracker"]
SECONDS = 40

# Names that mean something in a URL, or nothing there at all.
NAMES = [
    ("with space", "a b.bin"),
    ("hash # mark", "#1.bin"),
    ("what?", "where?.bin"),
    ("50%", "100%41.bin"),
    ("ünïcödé", "日本語 🦀.bin"),
    ("a+b&c=d;e", "it's.bin"),
    ("last.bin",),
]


def odd(lab, name="odd # name? 5%"):
    lengths = [1, 16_384, 70_001, 400_000, 99_999, 0, 1_000_003]
    return payloads.make(lab.directory, name, list(zip(NAMES, lengths, strict=True)))


def _get(lab, torrent, seconds=SECONDS, seeders=(), extra=()):
    """Let peerless fetch it, from web seeds alone if nobody is named; gives its last words."""
    leecher = lab.peerless()
    out = leecher.home / "out"
    leecher.download([torrent], out, seeders, extra=[*ALONE, *extra])
    leecher.wait_complete(seconds)
    torrent.check(out, leecher.label)
    summary = leecher.summary()
    assert summary["failed"] == 0 or extra, summary
    return summary


def with_seeds(torrent, *urls):
    return torrent.announcing(suffix="web", **{"url-list": list(urls)})


@case("web-seeds/alone", cost=2)
def alone(lab):
    """A tree of names that no URL takes as they are; nothing is fetched twice."""
    torrent = odd(lab)
    nginx = Nginx(lab, torrent.home)
    summary = _get(lab, with_seeds(torrent, nginx.url))
    assert (summary["downloaded"], summary["wasted"]) == (torrent.size, 0), summary
    [seed] = summary["web_seeds"]
    assert seed["downloaded"] == torrent.size and seed["error"] is None, seed


@case("web-seeds/single-file", cost=2)
def single_file(lab):
    """Under the URL itself, and as one of a folder; ranges of megabytes, not of blocks."""
    torrent = payloads.make(lab.directory, "one file #1.bin", 12_000_001)
    nginx = Nginx(lab, torrent.home)
    _get(lab, torrent, extra=["--web-seed", nginx.url])
    assert nginx.requests() <= 60, f"{nginx.requests()} requests"
    _get(lab, with_seeds(torrent, nginx.url + "one%20file%20%231.bin"))


@case("web-seeds/magnet", cost=3)
def magnet(lab):
    """`ws` in a link: the metadata comes from a slow peer, the data mostly from the server."""
    torrent = payloads.make(lab.directory, "linked.bin", 4_000_000)
    nginx = Nginx(lab, torrent.home)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=50_000)
    leecher = lab.peerless()
    out = leecher.home / "out"
    link = f"{torrent.magnet()}&ws={nginx.url}linked.bin"
    words = [link, "-o", out, "--peer", seeder.endpoint, "--bind", leecher.ip, *ALONE]
    leecher.get = leecher.start("get.log", "get", *words)
    leecher.wait_complete(SECONDS)
    torrent.check(out, leecher.label)
    [seed] = leecher.summary()["web_seeds"]
    assert seed["downloaded"] > torrent.size // 2, seed


@case("web-seeds/beside-a-peer", cost=9)
def beside_a_peer(lab):
    """A fast libtorrent seeder and a slow server at once: both give, and the copy is right."""
    torrent = payloads.make(lab.directory, "both.bin", 24_000_000)
    nginx = Nginx(lab, torrent.home, "limit_rate 40k;")
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    summary = _get(lab, with_seeds(torrent, nginx.url), seeders=[seeder])
    # What the slow one was asked for does not hold the rest up.
    assert summary["elapsed_seconds"] < 30, summary  # alone it would take two minutes
    [seed] = summary["web_seeds"]
    assert 0 < seed["downloaded"] < summary["downloaded"], summary


@case("web-seeds/restarted", cost=7)
def restarted(lab):
    """The server goes away in the middle and comes back: what came is not fetched again."""
    torrent = payloads.make(lab.directory, "restarted.bin", 16_000_000)
    nginx = Nginx(lab, torrent.home, "limit_rate 1m;")
    leecher = lab.peerless()
    out = leecher.home / "out"
    leecher.download([torrent_with := with_seeds(torrent, nginx.url)], out, extra=ALONE)
    copy = out / "restarted.bin"
    until(lambda: copy.exists() and copy.stat().st_blocks > 4_000, 20, "a part to be there")
    nginx.stop()
    leecher.wait_for_event(leecher.get, "web_seed_failed", 20)
    nginx.start()
    leecher.wait_complete(SECONDS)
    torrent_with.check(out, leecher.label)
    summary = leecher.summary()
    again = summary["downloaded"] - torrent.size
    assert again == 0 and summary["wasted"] == 0, summary


@case("web-seeds/corrupt", cost=2)
def corrupt(lab):
    """One server's copy is not the torrent's: it is left out, named, and the other completes it."""
    torrent = payloads.make(lab.directory, "corrupt.bin", 3_000_000)
    bad = lab.folder("bad")
    (bad / torrent.name).write_bytes(payloads.content("something else", 3_000_000))
    servers = [Nginx(lab, bad), Nginx(lab, torrent.home)]
    leecher = lab.peerless()
    out = leecher.home / "out"
    urls = [server.url for server in servers]
    leecher.download([with_seeds(torrent, *urls)], out, extra=ALONE)
    leecher.wait_complete(SECONDS)
    torrent.check(out, leecher.label)
    seeds = {seed["url"]: seed for seed in leecher.summary()["web_seeds"]}
    assert seeds[urls[0]]["state"] == "out", seeds
    assert seeds[urls[0]]["error"] == "it sent bad data", seeds
    assert seeds[urls[1]]["error"] is None, seeds


@case("web-seeds/nothing-there", cost=3)
def nothing_there(lab):
    """A server without the files: an exit code and its name instead of waiting for ever."""
    torrent = payloads.make(lab.directory, "absent.bin", 50_000)
    nginx = Nginx(lab, lab.folder("empty"))
    leecher = lab.peerless()
    extra = ["--no-tracker", "--wait-peers", 2, "--bind", leecher.ip]
    words = [with_seeds(torrent, nginx.url).path, "-o", lab.folder("out"), *extra]
    done = leecher.run("get", *words, code=4)
    assert nginx.url in done.err and "none of the torrent's files" in done.err, done


@case("web-seeds/like-others", cost=5)
def like_others(lab):
    """A torrent that libtorrent made, with URL seeds: aria2 and libtorrent complete it the same way."""
    torrent = odd(lab, "made by libtorrent #2")
    nginx = Nginx(lab, torrent.home)
    oracle = lab.client("libtorrent")
    path = lab.directory / "made.torrent"
    oracle.ask(
        "create", source=str(torrent.home / torrent.name), path=str(path), web_seeds=[nginx.url]
    )
    made = bencode.decode(path.read_bytes())
    assert made[b"url-list"] in (nginx.url.encode(), [nginx.url.encode()]), made.keys()
    info = {key.decode(): value for key, value in made[b"info"].items()}
    made = payloads.replace(torrent, path=path, info=info)
    _get(lab, made)
    for kind in ["aria2", "libtorrent"]:
        leecher = lab.client(kind)
        out = leecher.home / "out"
        out.mkdir()
        leecher.download([made], out)
        leecher.wait_complete(SECONDS)
        leecher.stop()
        made.check(out, leecher.label)
