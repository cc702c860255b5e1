"""`stream`: bytes before the file is complete, from libtorrent at a megabyte a second."""

import http.client
import subprocess
from urllib.parse import urlsplit

import payloads
import payloads_v2
import tools
from cases.corruption import assert_lied, every_block, honest_and_liar
from line import Line
from process import environment
from runner import case

RATE = 1_000_000
PIECE = 256 * 1024
FIRST_BYTE_SECONDS = 1.0
"""From a request to its first byte, at the start and after a seek, by the clock of the line."""
STALLED_SECONDS = 10
"""The same by the wall, where nothing that the line carries is waited for."""


def _serve(lab, torrent, seeders):
    """Start it over HTTP; gives its URL."""
    player = lab.peerless()
    peers = [word for seeder in seeders for word in ("--peer", seeder.serving(torrent))]
    words = [torrent.path, "--http", "--temporary", "--bind", player.ip, "--no-tracker", *peers]
    process = player.start("stream.log", "stream", *words)
    lab.at_end(process.stop)
    return player.wait_for_event(process, "streaming", 20)["url"]


def _read(url, start, count, line=None):
    """`count` bytes from `start` on, and the seconds of `line` until the first of them."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=STALLED_SECONDS)
    before = line.seconds if line else 0
    connection.request("GET", parts.path, headers={"Range": f"bytes={start}-"})
    answer = connection.getresponse()
    assert answer.status == 206, answer.status
    first = answer.read(1)
    waited = line.seconds - before if line else 0
    data = first + answer.read(count - 1)
    connection.close()  # as a player does that seeks
    return data, waited


@case("stream/first-byte-and-seeks", seconds=60, cost=8)
def seeks(lab):
    torrent = payloads.make(lab.directory, "film.mkv", 24 << 20, PIECE)
    content = (torrent.home / torrent.name).read_bytes()
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    line = Line(lab, seeder, torrent, RATE)
    url = _serve(lab, torrent, [line])
    # The beginning, then the index at the end, then here and there, reading on for a while.
    for start, count in [(0, 1_500_000), ((24 << 20) - 100_000, 100_000), (9 << 20, 1_500_000),
                         ((17 << 20) + 77, 500_000), ((4 << 20) - 5, 300_000)]:
        data, waited = _read(url, start, count, line)
        assert data == content[start : start + count], f"what came from {start} on differs"
        assert waited <= FIRST_BYTE_SECONDS, f"{waited:.2f} s to the first byte at {start}"


@case("stream/v2-large-pieces", seconds=60, cost=4)
def large_pieces(lab):
    """A piece takes 16 seconds; what is in it is there in one, block by block."""
    files = [(("film.mkv",), 40 << 20), (("notes",), 1)]
    torrent = payloads_v2.make(lab.directory, "filmed", files, 16 << 20)
    content = (torrent.home / torrent.name / "film.mkv").read_bytes()
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    line = Line(lab, seeder, torrent, RATE)
    url = _serve(lab, torrent, [line])
    for start, count in [(0, 400_000), ((8 << 20) + 100, 400_000), (5 << 20, 200_000),
                         ((40 << 20) - 50_000, 50_000), ((30 << 20) - 3, 400_000)]:
        data, waited = _read(url, start, count, line)
        assert data == content[start : start + count], f"what came from {start} on differs"
        assert waited <= FIRST_BYTE_SECONDS, f"{waited:.2f} s to the first byte at {start}"


@case("stream/curl-ranges", cost=3)
def curl(lab):
    torrent = payloads.tree(lab.directory, "a tree", with_empty=False)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    url = _serve(lab, torrent, [seeder])
    # The largest file, of equals the first.
    path, length = max(torrent.files, key=lambda file: file[1])
    content = (torrent.home / path).read_bytes()

    def fetch(*words, code=0):
        argv = [tools.program("curl"), "-sS", *map(str, words)]
        done = subprocess.run(argv, capture_output=True, timeout=30, env=environment(lab.directory))
        assert done.returncode == code, f"{argv}: exit {done.returncode}: {done.stderr!r}"
        return done.stdout

    assert fetch(url) == content, "the whole differs"
    for words, part in [("0-0", content[:1]), ("1000-70000", content[1000:70_001]),
                        ("-9", content[-9:]), (f"{length - 5}-", content[-5:])]:
        assert fetch("-r", words, url) == part, f"range {words} differs"
    # Over one connection.
    twice = fetch("-r", "5-9", url, url)
    assert twice == content[5:10] * 2, twice
    status = ["-o", "/dev/null", "-w", "%{http_code}"]
    assert fetch(*status, "-r", f"{length}-", url) == b"416"
    assert fetch(*status, "-H", "Host: rebound.example", url) == b"421"
    head = fetch("-I", url).decode().lower()
    assert f"content-length: {length}" in head and "accept-ranges: bytes" in head, head


def _to_pipe(lab, torrent, file, honest, liar):
    """Streams the file to a pipe: what comes is right, though the liar was asked for some of it."""
    player = lab.peerless()
    peers = [word for seeder in (honest, liar) for word in ("--peer", seeder.serving(torrent))]
    argv = [lab.peerless_path, "stream", torrent.path, "--temporary", "--no-tracker", "-q",
            "--bind", player.ip, *peers]
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, timeout=50,
        env=environment(player.home), cwd=player.home,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == file.read_bytes(), "what was streamed differs"
    assert_lied(liar, torrent)


@case("stream/one-of-two-seeders-lies", seconds=60, cost=5)
def lies(lab):
    """What goes to the pipe is right all the same, and in order."""
    torrent = payloads.make(lab.directory, "poisoned.bin", 6 << 20, 64 * 1024)
    _to_pipe(lab, torrent, torrent.home / torrent.name, *honest_and_liar(lab, torrent))


@case("stream/hybrid-block-by-block", seconds=60, cost=3)
def hybrid(lab):
    """A hybrid's blocks are proved by their leaves, so that none waits for its piece of 16 seconds."""
    torrent = payloads_v2.make(lab.directory, "both", [(("film.mkv",), 40 << 20), (("notes",), 1)], 16 << 20, True)
    content = (torrent.home / torrent.name / "film.mkv").read_bytes()
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home)
    line = Line(lab, seeder, torrent, RATE)
    url = _serve(lab, torrent, [line])
    for start, count in [(0, 400_000), ((30 << 20) - 3, 400_000)]:
        data, waited = _read(url, start, count, line)
        assert data == content[start : start + count], f"what came from {start} on differs"
        assert waited <= FIRST_BYTE_SECONDS, f"{waited:.2f} s to the first byte at {start}"


@case("stream/hybrid-seeder-lies", seconds=60, cost=5)
def hybrid_lies(lab):
    """Of a hybrid, too, no bad block reaches the pipe."""
    files = [(("film.mkv",), 6 << 20), (("notes",), 1)]
    torrent = payloads_v2.make(lab.directory, "poisoned", files, 1 << 20, True)
    seeders = honest_and_liar(lab, torrent, every_block, "film.mkv")
    _to_pipe(lab, torrent, torrent.home / torrent.name / "film.mkv", *seeders)
