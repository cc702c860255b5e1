"""Torrents of the second version and hybrids (BEP 52), made by the suite's own hand: an oracle must not
share code with what it judges."""

import hashlib
from dataclasses import dataclass

import bencode
import payloads
from payloads import BLOCK, PIECE

PAD = bytes(32)


def parent(left, right):
    return hashlib.sha256(left + right).digest()


def levels(leaves):
    """All layers of a tree, the leaves first, each filled up to its width."""
    width = 1 << max(len(leaves) - 1, 0).bit_length()
    layer = leaves + [PAD] * (width - len(leaves))
    layers = [layer]
    while len(layer) > 1:
        layer = [parent(*layer[at : at + 2]) for at in range(0, len(layer), 2)]
        layers.append(layer)
    return layers


def leaves(data):
    return [hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, len(data), BLOCK)]


@dataclass(frozen=True)
class TorrentV2(payloads.Torrent):
    """`info_hash`: what handshakes and trackers call it."""

    trees: dict = None  # path -> layers of its tree, the leaves first
    linked_by_v1: bool = False  # a hybrid's links name its v1 hash, as a client without v2 needs

    @property
    def is_hybrid(self):
        return "pieces" in self.info

    @property
    def v2(self):
        return hashlib.sha256(bencode.encode(self.info)).hexdigest()

    @property
    def info_hash(self):
        if self.is_hybrid:
            return hashlib.sha1(bencode.encode(self.info)).hexdigest()
        return self.v2[:40]

    @property
    def layers(self):
        top = (self.piece_length // BLOCK).bit_length() - 1
        found = {}
        for below, length in self.files:
            if length > self.piece_length:
                tree = self.trees[below]
                found[tree[-1][0]] = b"".join(tree[top][: -(-length // self.piece_length)])
        return found

    def announcing(self, *trackers, suffix="tracked", **top):
        return super().announcing(*trackers, suffix=suffix, **{"piece layers": self.layers}, **top)

    def magnet(self, trackers=()):
        """By one hash alone, and that of v2 where nothing else was wished for."""
        link = super().magnet(trackers)
        if self.linked_by_v1:
            return link
        return link.replace(f"btih:{self.info_hash}", f"btmh:1220{self.v2}")


def make(directory, name, files, piece_length=PIECE, hybrid=False):
    """`files`: a list of (path components, length), each component ASCII; the torrent is a folder."""
    plain = payloads.make(directory, name, sorted(files), piece_length)
    tree, trees = {}, {}
    v1_files, v1 = [], bytearray()
    entries = [(parts, length) for parts, length in sorted(files)]
    for number, (parts, length) in enumerate(entries):
        below = "/".join((name, *parts))
        data = (plain.home / below).read_bytes()
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
        node[""] = {"length": length}
        if length:
            built = levels(leaves(data))
            trees[below] = built
            node[""]["pieces root"] = built[-1][0]
        v1_files.append({"length": length, "path": list(parts)})
        v1 += data
        gap = -length % piece_length
        if gap and number + 1 < len(entries):
            v1_files.append({"attr": "p", "length": gap, "path": [".pad", str(gap)]})
            v1 += bytes(gap)
    info = {"name": name, "piece length": piece_length, "meta version": 2, "file tree": tree}
    if hybrid:
        pieces = (v1[at : at + piece_length] for at in range(0, len(v1), piece_length))
        info["pieces"] = b"".join(hashlib.sha1(piece).digest() for piece in pieces)
        info["files"] = v1_files
    made = TorrentV2(plain.path, name, piece_length, info, plain.files, plain.digest, plain.home, trees)
    made.path.write_bytes(bencode.encode({"info": info, "piece layers": made.layers}))
    return made


def existing(path, plain):
    """The .torrent that somebody else made of the data of `plain`."""
    info = {key.decode(): value for key, value in bencode.decode(path.read_bytes())[b"info"].items()}
    trees = {below: levels(leaves((plain.home / below).read_bytes())) for below, length in plain.files if length}
    return TorrentV2(path, plain.name, plain.piece_length, info, plain.files, plain.digest, plain.home, trees)


SHAPES = [
    (("a-one-byte",), 1),
    (("b-block",), BLOCK),
    (("c", "block-and-one"), BLOCK + 1),
    (("c", "piece"), PIECE),
    (("d-piece-and-one",), PIECE + 1),
    (("e", "deep", "er", "many"), 37 * PIECE + 12_345),
    (("f-empty",), 0),
    (("g-two-pieces",), 2 * PIECE),
]


def shapes(directory, name, hybrid, with_empty=True):
    """Files of every length at which a tree changes its shape."""
    files = [(parts, length) for parts, length in SHAPES if length or with_empty]
    return make(directory, name, files, hybrid=hybrid)
