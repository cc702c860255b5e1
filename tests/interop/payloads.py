"""Deterministic data, the torrents that describe it, and the check that a copy is identical."""

import hashlib
import os
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import bencode

BLOCK = 16 * 1024
PIECE = 32 * 1024

# Every length at which an off-by-one in blocks or pieces would show.
SIZES = [
    1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    PIECE - 1,
    PIECE,
    PIECE + 1,
    7 * PIECE + 12_345,
]


@dataclass(frozen=True)
class Torrent:
    """A .torrent on disk and what it describes."""

    path: Path
    name: str
    piece_length: int
    info: dict
    files: tuple  # of (path below the download directory, length)
    digest: dict = field(repr=False)  # the same path -> SHA-256 of the content
    home: Path  # the directory that holds the data (its `name` lies inside)

    @property
    def info_hash(self):
        return hashlib.sha1(bencode.encode(self.info)).hexdigest()

    def magnet(self, trackers=()):
        """A link that knows the info hash alone, and `trackers`."""
        hints = "".join(f"&tr={quote(url, safe='')}" for url in trackers)
        return f"magnet:?xt=urn:btih:{self.info_hash}{hints}"

    @property
    def size(self):
        return sum(length for _, length in self.files)

    @property
    def pieces(self):
        return len(self.info["pieces"]) // 20

    def piece(self, index):
        """The bytes of one piece, read from the original data."""
        start = index * self.piece_length
        left = min(self.piece_length, self.size - start)
        out, offset = bytearray(), 0
        for path, length in self.files:
            begin = max(start - offset, 0)
            if begin < length and left:
                with (self.home / path).open("rb") as source:
                    source.seek(begin)
                    part = source.read(min(left, length - begin))
                out += part
                left -= len(part)
                start += len(part)
            offset += length
        return bytes(out)

    def announcing(self, *trackers, suffix="tracked", **top):
        """The same torrent (same info hash) in another file that names `trackers`, a tier each."""
        path = self.path.with_suffix(f".{suffix}.torrent")
        _write(path, self.info, trackers, top)
        return replace(self, path=path)

    def differences(self, directory):
        """What stands between `directory` and a byte-identical copy; empty when nothing does."""
        found = []
        wanted = {path for path, _ in self.files}
        for path, length in self.files:
            copy = Path(directory) / path
            if not copy.is_file():
                found.append(f"{path}: missing")
            elif copy.stat().st_size != length:
                found.append(f"{path}: {copy.stat().st_size} bytes, not {length}")
            elif _sha256(copy) != self.digest[path]:
                found.append(f"{path}: content differs")
        root = Path(directory) / self.name
        if root.is_dir():
            for copy in root.rglob("*"):
                below = str(copy.relative_to(directory))
                if copy.is_file() and below not in wanted:
                    found.append(f"{below}: not part of the torrent")
        return found

    def check(self, directory, who):
        """Fail unless `directory` holds a byte-identical copy."""
        found = self.differences(directory)
        assert not found, f"{who}: {len(found)} differences: " + "; ".join(found[:5])


def existing(path, home):
    """A single-file torrent that somebody else made, of data below `home` that is not compared."""
    info = {key.decode(): value for key, value in bencode.decode(path.read_bytes())[b"info"].items()}
    name = info["name"].decode()
    return Torrent(path, name, info["piece length"], info, ((name, info["length"]),), {}, home)


def content(seed, length):
    """`length` bytes that depend on `seed` alone."""
    return random.Random(seed).randbytes(length)


def _sha256(path):
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _write(path, info, trackers=(), top=()):
    document = {"info": info, **dict(top)}
    if trackers:
        document["announce"] = trackers[0]
    if len(trackers) > 1:
        document["announce-list"] = [[url] for url in trackers]
    path.write_bytes(bencode.encode(document))


def make(directory, name, files, piece_length=PIECE, private=False, salt=None):
    """Write the data and its torrent below `directory`.

    `files`: the length of a single file, or a list of (path components, length). `salt`: a number in
    the info dictionary that means nothing but changes the info hash.
    """
    home = directory / "data"
    single = isinstance(files, int)
    listed = [((), files)] if single else files
    info = {"name": name, "piece length": piece_length}
    pieces, pending, entries, digest = bytearray(), bytearray(), [], {}
    for parts, length in listed:
        below = os.path.join(name, *parts)
        data = content(f"{name}:{'/'.join(parts)}", length)
        target = home / below
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        entries.append((below, length))
        digest[below] = hashlib.sha256(data).hexdigest()
        pending += data
        whole = len(pending) - len(pending) % piece_length
        for start in range(0, whole, piece_length):
            pieces += hashlib.sha1(pending[start : start + piece_length]).digest()
        del pending[:whole]
    if pending:
        pieces += hashlib.sha1(pending).digest()
    info["pieces"] = bytes(pieces)
    if single:
        info["length"] = files
    else:
        info["files"] = [{"length": n, "path": list(parts)} for parts, n in files]
    if private:
        info["private"] = 1
    if salt is not None:
        info["salt"] = salt
    path = directory / f"{name}.torrent"
    _write(path, info)
    return Torrent(path, name, piece_length, info, tuple(entries), digest, home)


def sizes(directory, label, with_empty=False):
    """One single-file torrent for each length in `SIZES`, and the empty file on demand."""
    lengths = ([0] if with_empty else []) + SIZES
    return [make(directory, f"{label}-{length}.bin", length) for length in lengths]


def tree(directory, name, with_empty=True):
    """About 200 files: nested, many smaller than a block, some empty, names in several scripts."""
    rng = random.Random(f"tree:{name}")
    words = ["plain", "with space", "ünïcödé", "日本語", "кириллица", "emoji-🦀", "dots..inside", "quote'd"]
    files, taken = [], set()
    for number in range(200):
        depth = rng.randrange(4)
        folders = tuple(rng.choice(words) for _ in range(depth))
        parts = folders + (f"{number:03d} {rng.choice(words)}.dat",)
        assert parts not in taken
        taken.add(parts)
        kind = rng.random()
        if kind < 0.08:
            length = 0 if with_empty else 1
        elif kind < 0.5:
            length = rng.randrange(1, BLOCK)
        elif kind < 0.9:
            length = rng.randrange(BLOCK, 2 * PIECE)
        else:
            length = rng.choice([BLOCK, PIECE, 3 * PIECE, 5 * PIECE + 1])
        files.append((parts, length))
    return make(directory, name, files)
