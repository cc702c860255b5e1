"""Files that are there already, in torrents of other makers (BEP 38, and the roots of BEP 52), and v2 data
that a link finds on the disk. What a seeder sent is the proof."""

import json
import shutil
from pathlib import Path

import bencode
import payloads
import payloads_v2
import tools
from process import run
from runner import case
from transfers import fetch

PIECE = 64 * 1024
MAKER = Path(__file__).parent.parent / "clients" / "libtorrent_hints.py"


def _made(lab, path, target, **options):
    """A .torrent of `path` that libtorrent made, with its word on what it hints at."""
    job = {"path": str(path), "target": str(target), "piece_length": PIECE, **options}
    done = run([tools.file(tools.PYTHON_WITH_LIBTORRENT), MAKER, json.dumps(job)], lab.directory, 20)
    assert done.code == 0, done
    return json.loads(done.out)


def _read(lab, target):
    done = run(
        [tools.file(tools.PYTHON_WITH_LIBTORRENT), MAKER, json.dumps({"read": str(target)})],
        lab.directory,
        20,
    )
    assert done.code == 0, done
    return json.loads(done.out)


def _sent(seeder, torrent):
    return seeder.status()[torrent.info_hash]["payload_uploaded"]


@case("reuse/by-root", cost=1)
def by_root(lab):
    """Of a second torrent only the file is fetched that the first one has not: a hybrid's by a v2 one."""
    size = 9 * PIECE + 1234
    first = payloads_v2.make(lab.directory, "first", [(("film",), size), (("a",), 5)], PIECE, hybrid=True)
    data = lab.folder("again") / "second"
    (data / "deep").mkdir(parents=True)
    shutil.copy(first.home / "first" / "film", data / "deep" / "renamed")
    extra = payloads.content("extra", 3 * PIECE + 9)
    (data / "new").write_bytes(extra)
    seeder, leecher = lab.client("libtorrent"), lab.peerless()
    seeder.seed([first], first.home)
    leecher.download([first], lab.folder("out"), [seeder])
    leecher.wait_complete(30)
    target = lab.directory / "second.torrent"
    _made(lab, data, target, format="v2")
    seeder.ask("add", torrent=str(target), directory=str(data.parent))
    seeder.ask("wait")
    info = leecher.json("info", target).json
    out = lab.folder("other")
    arguments = ["get", target, "-o", out, "--peer", seeder.endpoint]
    arguments += ["--bind", leecher.ip, "--no-tracker"]
    summary = leecher.json(*arguments, seconds=40).json
    assert summary["complete"] and summary["downloaded"] == len(extra), summary
    sent = seeder.status()[info["info_hash"]]["payload_uploaded"]
    assert sent == len(extra), f"{sent} bytes were sent"
    assert (out / "second/deep/renamed").read_bytes() == (data / "deep/renamed").read_bytes()


def _by_hint(kind):
    @case(f"reuse/{kind}-of-libtorrent", cost=1)
    def hinted(lab):
        """v1 torrents that libtorrent made: the second ends without a byte from anybody."""
        source = lab.folder("source")
        film = payloads.content("film", 12 * PIECE + 77)
        for name in ("one", "two"):
            (source / name).write_bytes(film)
        hints = {"collections": ["series"]} if kind == "collections" else {}
        one = _made(lab, source / "one", lab.directory / "one.torrent", format="v1", **hints)
        hints = hints or {"similar": [one["info_hash"]]}
        two = _made(lab, source / "two", lab.directory / "two.torrent", format="v1", **hints)
        assert two["similar"] == hints.get("similar", [])
        us = lab.peerless()
        info = us.json("info", lab.directory / "two.torrent").json
        assert info["collections"] == two["collections"], info
        assert info["similar"] == two["similar"], info
        seeder = lab.client("libtorrent")
        for name in ("one", "two"):
            torrent = str(lab.directory / f"{name}.torrent")
            seeder.ask("add", torrent=torrent, directory=str(source))
        seeder.ask("wait")
        out = lab.folder("out")
        for name, fetched in (("one", len(film)), ("two", 0)):
            torrent = lab.directory / f"{name}.torrent"
            arguments = ["get", torrent, "-o", out, "--peer", seeder.endpoint]
            arguments += ["--bind", us.ip, "--no-tracker"]
            summary = us.json(*arguments, seconds=40).json
            assert summary["complete"] and summary["downloaded"] == fetched, summary
            assert (out / name).read_bytes() == film
        assert seeder.status()[two["info_hash"]]["payload_uploaded"] == 0


for _kind in ("similar", "collections"):
    _by_hint(_kind)


@case("reuse/hints-read-by-libtorrent", cost=2)
def ours(lab):
    """Ours are the same bytes as libtorrent's; what `edit` puts around the info it merges as we do."""
    source = lab.folder("source")
    (source / "file").write_bytes(payloads.content("hints", PIECE + 5))
    similar, us = ["11" * 20, "22" * 20], lab.peerless()
    theirs, made = lab.directory / "theirs.torrent", lab.directory / "ours.torrent"
    words = ["--similar", similar[0], "--similar", similar[1], "--collection", "series"]
    us.run("create", source / "file", "-o", made, "--piece-length", "64K", *words)
    _made(lab, source / "file", theirs, format="v1", similar=similar, collections=["series"])
    infos = [bencode.decode(path.read_bytes())[b"info"] for path in (made, theirs)]
    assert infos[0] == infos[1], infos
    us.run("edit", made, "--similar", "33" * 20, "--collection", "films")
    read = _read(lab, made)
    assert sorted(read["similar"]) == sorted([*similar, "33" * 20]), read
    assert sorted(read["collections"]) == ["films", "series"], read


@case("reuse/link-finds-v2-data", cost=1)
def there(lab):
    """By a `btmh` link, to data that is there: not one byte of payload is sent; of damaged data the
    damaged piece alone."""
    files = [(("big",), 21 * PIECE + 500), (("small",), 900)]
    torrent = payloads_v2.make(lab.directory, "there", files, PIECE)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    for damaged, expected in ((False, 0), (True, PIECE)):
        before = _sent(seeder, torrent)
        leecher = lab.peerless()
        out = lab.folder(f"out {damaged}")
        shutil.copytree(torrent.home / torrent.name, out / torrent.name)
        if damaged:
            with (out / torrent.name / "big").open("r+b") as data:
                data.seek(7 * PIECE + 3)
                data.write(b"bad")
        leecher.download([torrent], out, [seeder], by_magnet=True)
        leecher.wait_complete(30)
        torrent.check(out, leecher.label)
        assert leecher.summary()["downloaded"] == expected, leecher.summary()
        sent = _sent(seeder, torrent) - before
        assert sent == expected, f"{sent} bytes were sent"
