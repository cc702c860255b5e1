"""`create` against libtorrent's own creator, byte for byte, in every version (BEP 3, 12, 19, 27, 47, 52)."""

import json
import os
from pathlib import Path

import bencode
import tools
from payloads import content
from process import run
from runner import case

MAKER = Path(__file__).parents[1] / "clients/libtorrent_maker.py"
FORMATS = ["v1", "v2", "hybrid"]
BLOCK = 16 * 1024
DATE = 1_700_000_000

TREES = {
    "one byte": {"f": 1},
    "one block": {"f": BLOCK},
    "exact": {"one block": BLOCK, "one piece": 4 * BLOCK, "pieces": 8 * BLOCK, "more": 8 * BLOCK + 1},
    "empty files": {"a": 0, "b": 5, "c": 0, "d/e": 0, "f": 3 * BLOCK, "z": 0},
    "deep": {"/".join(f"folder {n}" for n in range(40)) + "/file": 100_000, "top": 7},
    "unicode": {"日本/ファイル": 20_000, "Ωμέγα": 1, "e\u0301": 2, "\u00e9": 3, "🦀/🦀": 40_000},
    "alike": {"one": 100_000, "two": 100_000, "three": 100_001},
    "many": {f"{n % 17:02}/{n:04}": n * 131 % 50_000 for n in range(300)},
}
# As whole strings `a-` and `a.b` come before what is in `a`; name by name, as in a file tree, after it.
ORDER = {"a/z": 9, "a-": 1, "a.b": 2, "B": 3, "a/b/c": 4, ".hidden": 5, "Z": BLOCK, "é": 7}
EXECUTABLE = {"one block", "a/z", "top"}


def _tree(directory, name, files):
    home = directory / name
    for path, length in files.items():
        target = home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Files of `alike` have the same bytes, and so the same root.
        target.write_bytes(content(name if name == "alike" else path, length))
        target.chmod(0o755 if path in EXECUTABLE else 0o644)
    return home


def _theirs(lab, jobs, seconds=30):
    argv = [tools.file(tools.PYTHON_WITH_LIBTORRENT), MAKER]
    done = run(argv, lab.directory, seconds, stdin=json.dumps(jobs))
    assert done.code == 0, done


def _compare(lab, paths, piece_lengths, formats=FORMATS, symlinks=False, options=(), **more):
    """Every path in every format and piece length, made by both."""
    peerless = lab.peerless()
    jobs = [
        {
            "path": str(path),
            "target": str(lab.directory / f"{path.name}.{kind}.{length}.theirs"),
            "format": kind,
            "piece_length": length,
            "symlinks": symlinks,
            "date": DATE,
            **more,
        }
        for path in paths
        for kind in formats
        for length in piece_lengths
    ]
    _theirs(lab, jobs)
    for job in jobs:
        theirs = Path(job["target"])
        ours = theirs.with_suffix(".ours")
        arguments = ["--format", job["format"], "--piece-length", job["piece_length"], "--date", DATE]
        arguments += ["--symlinks"] if symlinks else []
        peerless.run("create", job["path"], "-o", ours, *arguments, *options)
        if ours.read_bytes() != theirs.read_bytes():
            both = [bencode.decode(path.read_bytes()) for path in (ours, theirs)]
            raise AssertionError(f"{job}\nours   {str(both[0])[:3000]}\ntheirs {str(both[1])[:3000]}")
    return jobs


@case("creation/trees", cost=2)
def trees(lab):
    """Empty files, exact multiples, deep paths, unicode, equal files, many files."""
    homes = [_tree(lab.directory, name, files) for name, files in TREES.items()]
    _compare(lab, homes, [BLOCK, 4 * BLOCK, 1 << 20])


@case("creation/order", cost=2)
def order(lab):
    """A hybrid's two lists are in the order of the file tree (BEP 52). libtorrent 2.1 sorts the first by
    whole paths, and refuses what it made itself; ours it reads."""
    home = _tree(lab.directory, "order", ORDER)
    _compare(lab, [home], [BLOCK], formats=["v1", "v2"])
    made = lab.directory / "order.hybrid"
    lab.peerless().run("create", home, "-o", made, "--format", "hybrid", "--piece-length", BLOCK)
    [theirs] = lab.client("libtorrent").ask("describe", torrents=[str(made)])
    read = [path for path, _ in theirs["files"] if "/.pad/" not in path]
    assert read == [f"order/{path}" for path in sorted(ORDER, key=lambda path: path.encode().split(b"/"))]


@case("creation/single-files", cost=3)
def single_files(lab):
    """A file alone has no padding, and its attributes stand where libtorrent puts them."""
    sizes = [1, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK, 4 * BLOCK + 1, 1_000_000]
    home = _tree(lab.directory, "singles", {f"file {size}": size for size in sizes})
    (home / f"file {BLOCK}").chmod(0o755)
    _compare(lab, [home / f"file {size}" for size in sizes], [BLOCK, 4 * BLOCK])


@case("creation/links", cost=2)
def links(lab):
    """Links inside the folder are kept, those that lead out of it are not."""
    home = _tree(lab.directory, "linked", {"a": 20_000, "d/b": 5, "run": 7})
    (home / "run").chmod(0o755)
    for name, target in {
        "d/up": "../a",
        "down": "d/b",
        "dot": "./a",
        "dangling": "nothing/here",
        "folder": "d",
        "absolute": "/etc/passwd",
        "out": "../../out",
        "out-and-back": "../linked/a",
    }.items():
        (home / name).symlink_to(target)
    _compare(lab, [home], [BLOCK, 4 * BLOCK], symlinks=True)
    _compare(lab, [home], [2 * BLOCK])


@case("creation/all-that-is-said", cost=2)
def said(lab):
    """Trackers, web seeds, comment and privacy stand in the same places."""
    home = _tree(lab.directory, "said", {"a": 50_000, "b": 1})
    trackers = [["http://a.example/announce"], ["udp://b.example:6969"]]
    seeds = ["http://one.example/", "http://two.example/"]
    options = ["--comment", "made by hand", "--private"]
    options += [word for [url] in trackers for word in ("--tracker", url)]
    options += [word for url in seeds for word in ("--web-seed", url)]
    more = {"trackers": trackers, "web_seeds": seeds, "comment": "made by hand", "private": True}
    _compare(lab, [home], [BLOCK], options=options, **more)
    one = {"trackers": trackers[:1], "web_seeds": seeds[:1]}
    _compare(lab, [home], [4 * BLOCK], options=["--tracker", trackers[0][0], "--web-seed", seeds[0]], **one)


@case("creation/more-than-two-gigabytes", cost=10, seconds=90)
def large(lab):
    """Lengths beyond 31 bits, in a file that takes no room."""
    home = lab.folder("large")
    with (home / "sparse").open("wb") as sparse:
        os.truncate(sparse.fileno(), (2 << 30) + 1)
    (home / "small").write_bytes(b"x")
    _compare(lab, [home], [16 << 20], formats=["hybrid"])


@case("creation/read-back", cost=2)
def read_back(lab):
    """`info` tells both hashes, the version and the roots; a second `create` gives the same bytes."""
    home = _tree(lab.directory, "read", {"a": 40_000, "b": 1, "c": 0})
    peerless = lab.peerless()
    for kind in FORMATS:
        made = [lab.directory / f"{kind}.{number}" for number in range(2)]
        for path in made:
            peerless.run("create", home, "-o", path, "--format", kind)
        assert made[0].read_bytes() == made[1].read_bytes()
        ours = peerless.json("info", made[0]).json
        torrent = bencode.decode(made[0].read_bytes())
        [theirs] = lab.client("libtorrent").ask("describe", torrents=[str(made[0])])
        assert ours["version"] == kind
        assert (ours["info_hash_v1"] is None) == (kind == "v2")
        assert (ours["info_hash_v2"] is None) == (kind == "v1")
        assert theirs["info_hash"] == ours["info_hash"], theirs
        assert ours["total_length"] - sum(f["length"] for f in ours["files"] if f["pad"]) == 40_001
        if kind != "v1":
            tree = torrent[b"info"][b"file tree"]
            roots = {f["path"]: f["root"] for f in ours["files"] if f["root"]}
            assert roots == {
                f"read/{name}": tree[name.encode()][b""][b"pieces root"].hex() for name in ("a", "b")
            }


@case("creation/edit", cost=3)
def edit(lab):
    """libtorrent reads an edited torrent as the same one, with the new trackers and web seeds."""
    home = _tree(lab.directory, "edited", {"a": 100_000, "b": 1})
    peerless, oracle = lab.peerless(), lab.client("libtorrent")
    for kind in FORMATS:
        made, edited = lab.directory / f"{kind}.torrent", lab.directory / f"{kind}.edited.torrent"
        peerless.run("create", home, "-o", made, "--format", kind, "--tracker", "http://old.example/a")
        new = ["--add-tracker", "1=http://beside.example/a", "--add-tracker", "udp://last.example:1"]
        new += ["--remove-tracker", "http://old.example/a", "--comment", "new", "--web-seed", "http://seed.example/"]
        peerless.run("edit", made, "-o", edited, *new)
        before, after = oracle.ask("describe", torrents=[str(made), str(edited)])
        assert after["trackers"] == [[0, "http://beside.example/a"], [1, "udp://last.example:1"]], after
        assert before | {"trackers": None} == after | {"trackers": None}
        old, new = (bencode.decode(path.read_bytes()) for path in (made, edited))
        assert old[b"info"] == new[b"info"] and old.get(b"piece layers") == new.get(b"piece layers")
        raw = bencode.encode(old[b"info"])
        assert made.read_bytes().count(raw) == edited.read_bytes().count(raw) == 1
        # Undone, it is what it was.
        peerless.run("edit", edited, "--tracker", "http://old.example/a", "--no-comment", "--no-web-seeds")
        assert edited.read_bytes() == made.read_bytes()
