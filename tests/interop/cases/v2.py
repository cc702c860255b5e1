"""BitTorrent v2 and hybrids (BEP 52): from and to libtorrent by file and by link, the v1 side of a hybrid
to a peer that knows no other, blocks proved one by one, and peers that ask or answer wrongly. What clients
of v1 alone make of a hybrid is in `hybrids.py`.
"""

import hashlib
import socket
import struct
import threading

import netns
import payloads_v2
from cases.corruption import assert_lied, every_block, honest_and_liar
from clients.peerless import Exit
from deadline import until
from payloads import BLOCK, PIECE
from runner import case
from transfers import fetch

KINDS = {"v2": False, "hybrid": True}


def _with_libtorrent(kind, hybrid):
    @case(f"v2/{kind}-from-libtorrent", cost=1)
    def obtained(lab):
        torrent = payloads_v2.shapes(lab.directory, f"{kind} from", hybrid)
        seeder = lab.client("libtorrent")
        seeder.seed([torrent], torrent.home)
        for by_magnet in (False, True):
            fetch(lab, "peerless", [torrent], seeder, 30, by_magnet=by_magnet)

    @case(f"v2/{kind}-to-libtorrent", cost=2)
    def given(lab):
        torrent = payloads_v2.shapes(lab.directory, f"{kind} to", hybrid)
        seeder = lab.peerless()
        seeder.seed([torrent], torrent.home)
        for by_magnet in (False, True):
            fetch(lab, "libtorrent", [torrent], seeder, 30, by_magnet=by_magnet)

    @case(f"v2/{kind}-between-us", cost=1)
    def ourselves(lab):
        """By a link, so that the layers come from us too; then everything is there after a restart."""
        torrent = payloads_v2.shapes(lab.directory, f"{kind} between us", hybrid)
        seeder, leecher = lab.peerless(), lab.peerless()
        seeder.seed([torrent], torrent.home)
        out = lab.folder("out")
        for downloaded in (True, False):
            leecher.download([torrent], out, [seeder], by_magnet=True)
            leecher.wait_complete(30)
            torrent.check(out, leecher.label)
            assert (leecher.summary()["downloaded"] > 0) == downloaded, leecher.summary()


for _kind, _hybrid in KINDS.items():
    _with_libtorrent(_kind, _hybrid)


@case("v2/one-bad-block", seconds=60, cost=1)
def one_bad_block(lab):
    """A seeder with one bad block is known by that block alone: it costs 16 KiB, not a piece."""
    files = [(("poisoned",), 6 << 20), (("sound",), 1)]
    torrent = payloads_v2.make(lab.directory, "proved", files, 1 << 20)
    # Whichever block is asked of the liar first is bad.
    honest, liar = honest_and_liar(lab, torrent, every_block, "poisoned", liar_limit=2 << 20)
    leecher = lab.peerless()
    out = lab.folder("out")
    # The liar alone at first, so that it is asked.
    leecher.download([torrent], out, [liar], extra=["--no-tracker", "--peer", honest.endpoint])
    leecher.wait_complete(40)
    torrent.check(out, leecher.label)
    events = leecher.events(leecher.get)
    banned = [event for event in events if event["event"] == "peer_banned"]
    assert len(banned) == 1, banned
    assert_lied(liar, torrent)
    failed = leecher.summary()["failed"]
    assert 0 < failed <= 64 * BLOCK, f"{failed} bytes failed"


@case("v2/resume-after-kill", seconds=60, cost=6)
def resume(lab):
    """A link, a kill, and the link again: the metadata, the layers and the pieces are still known."""
    files = [(("big",), 12 << 20), (("small",), 70_000)]
    torrent = payloads_v2.make(lab.directory, "killed", files, 64 * 1024)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=3 << 20)
    leecher = lab.peerless()
    out = lab.folder("out")
    leecher.download([torrent], out, [seeder], by_magnet=True)
    until(lambda: _written(out / torrent.name / "big") > 3 << 20, 30, "some of it to be written")
    leecher.kill()
    leecher.download([torrent], out, [seeder], by_magnet=True)
    leecher.wait_complete(40)
    torrent.check(out, leecher.label)
    assert leecher.summary()["downloaded"] < torrent.size - (1 << 20), leecher.summary()


def _written(path):
    return path.stat().st_blocks * 512 if path.exists() else 0


@case("v2/check", cost=2)
def check(lab):
    """`check` verifies by the trees, and names what is damaged."""
    for kind, hybrid in KINDS.items():
        torrent = payloads_v2.shapes(lab.directory, f"checked {kind}", hybrid)
        us = lab.peerless()
        us.run("check", torrent.path, torrent.home)
        path = torrent.home / torrent.name / "e" / "deep" / "er" / "many"
        with path.open("r+b") as data:
            data.seek(5 * PIECE + 3)
            data.write(b"!")
        done = us.run("check", torrent.path, torrent.home, code=Exit.VERIFICATION)
        assert "many" in done.out + done.err, done


# A peer by hand.


class Peer:
    """Speaks v2 over a plain socket."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(20)

    def greet(self, info_hash, reserved=b"\0\0\0\0\0\x10\0\x14"):
        self.socket.sendall(b"\x13BitTorrent protocol" + reserved + info_hash + b"-XX0001-" + b"x" * 12)
        return self.take(68)

    def take(self, count):
        out = b""
        while len(out) < count:
            part = self.socket.recv(count - len(out))
            if not part:
                raise EOFError("the connection was closed")
            out += part
        return out

    def say(self, number, body=b""):
        self.socket.sendall(struct.pack(">IB", len(body) + 1, number) + body)

    def hear(self):
        length = struct.unpack(">I", self.take(4))[0]
        return (self.take(1)[0], self.take(length - 1)) if length else (None, b"")

    def hear_of(self, *numbers):
        while True:
            number, body = self.hear()
            if number in numbers:
                return number, body


HAVE_ALL, UNCHOKE, INTERESTED, REQUEST, BLOCK_CAME = 14, 1, 2, 6, 7
HASH_REQUEST, HASHES, HASH_REJECT = 21, 22, 23


def _ask(root, base, index, length, proof):
    return root + struct.pack(">IIII", base, index, length, proof)


def _climb(hashes, index, length, uncles):
    node = payloads_v2.levels(hashes)[-1][0]
    at = index // length
    for uncle in uncles:
        node = payloads_v2.parent(node, uncle) if at % 2 == 0 else payloads_v2.parent(uncle, node)
        at //= 2
    return node


@case("v2/hash-requests", cost=2)
def hash_requests(lab):
    """Leaves and layers are given with proofs; what is off its boundary is rejected, and the connection stays."""
    torrent = payloads_v2.shapes(lab.directory, "asked", False)
    us = lab.peerless()
    us.seed([torrent], torrent.home)
    tree = torrent.trees["asked/e/deep/er/many"]
    root, height = tree[-1][0], len(tree) - 1
    with socket.create_connection(netns.split(us.serving(torrent))) as connection:
        peer = Peer(connection)
        peer.greet(bytes.fromhex(torrent.info_hash))
        top = (PIECE // BLOCK).bit_length() - 1
        good = [(0, 0, 2, height - 1), (0, 20, 2, 0), (top, 0, 32, height - top - 1), (top, 32, 32, height - top - 1)]
        for base, index, length, proof in good:
            wanted = _ask(root, base, index, length, proof)
            peer.say(HASH_REQUEST, wanted)
            number, body = peer.hear_of(HASHES, HASH_REJECT)
            assert number == HASHES and body[:48] == wanted, (base, index, number)
            hashes = [body[at : at + 32] for at in range(48, len(body), 32)]
            assert hashes[:length] == tree[base][index : index + length], (base, index)
            uncles = proof - max(length.bit_length() - 2, 0)
            assert len(hashes) == length + max(uncles, 0), (base, index, len(hashes))
            if proof == height - base - 1:
                assert _climb(hashes[:length], index, length, hashes[length:]) == root
        bad = [(0, 1, 2, 0), (0, 0, 3, 0), (0, 0, 1, 0), (0, 128, 2, 0), (2, 0, 2, 0), (top, 0, 2, height), (99, 0, 2, 0)]
        for base, index, length, proof in bad:
            peer.say(HASH_REQUEST, _ask(root, base, index, length, proof))
            number, _ = peer.hear_of(HASHES, HASH_REJECT)
            assert number == HASH_REJECT, (base, index, length, proof)
        peer.say(HASH_REQUEST, _ask(b"?" * 32, 0, 0, 2, 0))
        assert peer.hear_of(HASHES, HASH_REJECT)[0] == HASH_REJECT


@case("v2/false-hashes", cost=3)
def false_hashes(lab):
    """Who answers with hashes that prove nothing is banned, and the download goes on with another."""
    torrent = payloads_v2.shapes(lab.directory, "lied", False)
    lie = {"told": 0}
    server = socket.create_server((lab.ip(), lab.port()))

    def serve():
        connection, _ = server.accept()
        peer = Peer(connection)
        peer.greet(bytes.fromhex(torrent.info_hash))
        peer.say(HAVE_ALL)
        peer.say(UNCHOKE)
        try:
            while True:
                number, body = peer.hear()
                if number == HASH_REQUEST:
                    base, _, length, proof = struct.unpack(">IIII", body[32:])
                    uncles = max(proof - max(length.bit_length() - 2, 0), 0)
                    peer.say(HASHES, body + b"\x55" * 32 * (length + uncles))
                    lie["told"] += 1
        except (EOFError, OSError):
            connection.close()

    teller = threading.Thread(target=serve, daemon=True)
    teller.start()
    lab.at_end(server.close)
    liar = "{}:{}".format(*server.getsockname())
    leecher, out = lab.peerless(), lab.folder("out")
    leecher.download([torrent], out, extra=["--no-tracker", "--peer", liar])
    leecher.wait_for_event(leecher.get, "peer_banned", 20)
    assert lie["told"] >= 1, lie
    leecher.get.stop()
    honest = lab.client("libtorrent")
    honest.seed([torrent], torrent.home)
    fetch(lab, "peerless", [torrent], honest, 30)


@case("v2/hybrid-to-v1-peer", cost=2)
def v1_side(lab):
    """A peer that knows v1 alone gets every piece as v1 has it, padding included, and each fits its SHA-1."""
    torrent = payloads_v2.shapes(lab.directory, "by v1", True)
    us = lab.peerless()
    us.seed([torrent], torrent.home)
    hashes = torrent.info["pieces"]
    total = sum(entry["length"] for entry in torrent.info["files"])
    with socket.create_connection(netns.split(us.serving(torrent))) as connection:
        peer = Peer(connection)
        reply = peer.greet(bytes.fromhex(torrent.info_hash), b"\0\0\0\0\0\0\0\x04")
        assert reply[28:48].hex() == torrent.info_hash
        peer.say(INTERESTED)
        peer.hear_of(UNCHOKE)
        for piece in range(torrent.pieces):
            data = bytearray(min(PIECE, total - piece * PIECE))
            blocks = range(0, len(data), BLOCK)
            for begin in blocks:
                peer.say(REQUEST, struct.pack(">III", piece, begin, min(BLOCK, len(data) - begin)))
            for _ in blocks:
                _, body = peer.hear_of(BLOCK_CAME)
                index, begin = struct.unpack(">II", body[:8])
                assert index == piece
                data[begin : begin + len(body) - 8] = body[8:]
            assert hashlib.sha1(data).digest() == hashes[piece * 20 : piece * 20 + 20], piece


@case("v2/both-swarms", cost=3)
def both_swarms(lab):
    """A hybrid is announced by both names, so a link that has one alone finds it at the tracker; so does
    `peers`."""
    torrent = payloads_v2.shapes(lab.directory, "twice announced", True)
    tracker = lab.plain_tracker
    seeder = lab.peerless(arguments=["--allow-private"])
    seeder.seed([torrent.announcing(tracker.url)], torrent.home)
    names = {torrent.info_hash, torrent.v2[:40]}
    until(lambda: names <= {a["info_hash"] for a in tracker.announces}, 10, "both names to be announced")
    for link in (torrent.magnet([tracker.url]), super(type(torrent), torrent).magnet([tracker.url])):
        leecher = lab.peerless(arguments=["--allow-private"])
        out = lab.folder(f"out-{leecher.port}")
        leecher.run("get", link, "-o", out, "--bind", leecher.ip, "--port", leecher.port, "--allow-private")
        torrent.check(out, leecher.label)
    asked = lab.peerless()
    said = asked.json("peers", torrent.announcing(tracker.url).path, "--allow-private", "--bind", asked.ip).json
    assert {entry["info_hash"] for entry in said["trackers"]} == names, said


@case("v2/upgrade", cost=2)
def upgrade(lab):
    """A peer that comes by a hybrid's v1 hash and can do v2 is answered by the v2 hash; others are not. Both
    names lead to it, and `handshake` shows what was agreed on."""
    torrent = payloads_v2.shapes(lab.directory, "upgraded", True)
    us = lab.peerless()
    us.seed([torrent], torrent.home)
    v1, v2 = bytes.fromhex(torrent.info_hash), bytes.fromhex(torrent.v2[:40])
    plain, able = b"\0\0\0\0\0\x10\0\x04", b"\0\0\0\0\0\x10\0\x14"
    for reserved, asked, answered in [(plain, v1, v1), (able, v1, v2), (able, v2, v2), (plain, v2, v2)]:
        with socket.create_connection(netns.split(us.serving(torrent))) as connection:
            reply = Peer(connection).greet(asked, reserved)
            assert reply[28:48] == answered, (reserved, asked)
    other = lab.peerless()
    said = other.json("handshake", torrent.path, us.serving(torrent), "--bind", other.ip).json
    assert "v2" in said["features"], said
    shown = other.json("info", torrent.path).json
    assert shown["info_hash"] == torrent.info_hash and torrent.v2 in shown.values(), shown
