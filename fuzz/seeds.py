#!/usr/bin/env python3
"""Makes the seeds of the targets that are driven by events or need keys: random courses, typical
requests, whole handshakes.

    fuzz/seeds.py        # writes seeds/TARGET/...; the same files each time
"""

import hashlib
import random
from pathlib import Path

SEEDS = Path(__file__).with_name("seeds")
RNG = random.Random("peerless")

HAVE_ALL, UNCHOKE, INTERESTED = b"\x0e", b"\x01", b"\x02"


def write(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def download(peers):
    """Fast peers with everything come, unchoke us, and answer what they are asked; the disk writes."""
    out = b"".join(bytes([0, 1 + 3 * n]) for n in range(peers))
    for _ in range(peers):
        out += bytes([14, 1]) + HAVE_ALL + bytes([14, 1]) + UNCHOKE + bytes([14, 1]) + INTERESTED
    for _ in range(60):
        out += bytes([4, RNG.randrange(5), RNG.randrange(4)])
        if RNG.random() < 0.3:
            out += bytes([8, 0])
        if RNG.random() < 0.1:
            out += bytes([3, RNG.randrange(100)])
    return out


for peers in (1, 2, 5):
    write("swarm", f"download-{peers}", download(peers))
for n in range(8):
    write("swarm", f"course-{n}", RNG.randbytes(200))
    write("tracker_schedule", f"course-{n}", RNG.randbytes(90 + n))
hash_of = "%01" * 20
write(
    "tracker_server",
    "requests",
    "\n".join(
        [
            f"/announce?info_hash={hash_of}&peer_id={'a' * 20}&port=6881&left=0&event=started&compact=1",
            f"/announce?info_hash={hash_of}&peer_id={'b' * 20}&port=6882&left=9&numwant=5",
            f"/scrape?info_hash={hash_of}&info_hash={hash_of}",
            "/announce?",
            "/stats",
        ]
    ).encode(),
)
urls = ["udp://tracker.example:6969/announce?key=1", "http://127.0.0.1/announce", "udp://[::1]:1"]
write("tracker_server", "urls", "\n".join(urls).encode())


def string(text):
    return bytes([len(text)]) + text


def head(piece, begin, length=16384):
    return (9 + length).to_bytes(4) + b"\x07" + piece.to_bytes(4) + begin.to_bytes(4)


def message(kind, body=b""):
    return (1 + len(body)).to_bytes(4) + bytes([kind]) + body


def receive(owed, parts, stream):
    lengths = b"".join(part.to_bytes(2, "little") for part in parts)
    return bytes([len(parts) << 4 | owed]) + lengths + stream


in_order = b"".join(head(n // 4, n % 4 * 16384) + b"#" for n in range(12))
write("receive", "in-order", receive(12, [60_000, 13, 40_000], in_order))
write("receive", "in-one-part", receive(15, [], in_order))
mixed = b"".join(
    message(4, n.to_bytes(4)) + head(n, 0) + b"#" + message(20, b"\x01" + b"x" * 30 * n) for n in range(9)
)
write("receive", "mixed", receive(7, [17_000, 5], mixed))
short = head(1, 0, 100) + b"y" * 100 + head(6, 0) + b"#" + head(2, 16384) + b"#" + b"\x00" * 4
write("receive", "short-and-discarded", receive(3, [16_397, 99], short))
write("receive", "byte-by-byte", receive(2, [1], message(5, b"\xff" * 9) + head(0, 0, 50) + b"z" * 50))
write("receive", "a-fault", receive(4, [30_000], head(0, 0) + b"#" + head(7, 0) + b"#"))

CLEAN, WRITTEN, PIECES, BOOT_ID, FILES = 4, 0, 2, 5, 13
INTEGER, TEXT, BLOB = 2, 4, 6
all_pieces = bytes([BLOB]) + string(b"\xff\xc0")
strange = bytes([WRITTEN]) + all_pieces + bytes([CLEAN, INTEGER, 1])
write("state", "clean-and-complete", bytes([1, 0]) + strange)
write("state", "another-boot", bytes([3, 1]) + strange + bytes([CLEAN, INTEGER, 0]))
write("state", "pieces-do-not-fit", bytes([1, 4]) + strange + bytes([PIECES, INTEGER, 9]))
write("state", "text-for-bytes", bytes([1, 2, WRITTEN, TEXT]) + string(b"\xff\xc0"))
write("state", "files", bytes([1, 9, FILES, INTEGER, 200, INTEGER, 1, INTEGER, 1, BOOT_ID, TEXT, 0]))
write("state", "cut-short", bytes([0, 0, 0, 0, 32]))
for page in range(6):
    write("state", f"page-{page}", bytes([0, 0, 1, page, 0]))
for n in range(4):
    write("state", f"bits-{n}", bytes([0, n, 2]) + RNG.randbytes(3 * 20))
PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    16,
)
OURS = int.from_bytes(b"\x07" * 20, "big")  # the target's own key
THEIRS = int.from_bytes(b"\x55" * 20, "big")
TORRENT = b"\xaa" * 20


def sha1(*parts):
    return hashlib.sha1(b"".join(parts)).digest()


def rc4(key):
    """Encrypts or decrypts bytes, one call after the other."""
    table = list(range(256))
    j = 0
    for i in range(256):
        j = (j + table[i] + key[i % len(key)]) % 256
        table[i], table[j] = table[j], table[i]

    def stream():
        i = j = 0
        while True:
            i = (i + 1) % 256
            j = (j + table[i]) % 256
            table[i], table[j] = table[j], table[i]
            yield table[(table[i] + table[j]) % 256]

    keys = stream()
    for _ in range(1024):
        next(keys)
    return lambda data: bytes(byte ^ next(keys) for byte in data)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def handshake(role, cut, pads, choice, initial=b""):
    """All that one side of MSE says, `role` being the one that hears it."""
    public = pow(2, THEIRS, PRIME).to_bytes(96, "big")
    secret = pow(pow(2, OURS, PRIME), THEIRS, PRIME).to_bytes(96, "big")
    out = public + RNG.randbytes(pads[0])
    pad = pads[1].to_bytes(2, "big") + bytes(pads[1])
    said = bytes(8) + choice.to_bytes(4, "big") + pad
    if role & 1:  # the responder hears it
        out += sha1(b"req1", secret) + xor(sha1(b"req2", TORRENT), sha1(b"req3", secret))
        said += len(initial).to_bytes(2, "big") + initial
    key = b"keyA" if role & 1 else b"keyB"
    return bytes([role, cut]) + out + rc4(sha1(key, secret, TORRENT))(said) + b"payload"


write("mse", "initiator-plaintext", handshake(0, 9, (512, 512), 1))
write("mse", "initiator-rc4", handshake(0, 200, (0, 0), 2))
write("mse", "initiator-rc4-only", handshake(4, 0, (3, 100), 2))
write("mse", "initiator-bad-choice", handshake(4, 0, (3, 100), 1))
write("mse", "responder-plaintext", handshake(1, 9, (512, 512), 3, b"\x42" * 68))
write("mse", "responder-rc4", handshake(1, 255, (0, 0), 2))
write("mse", "responder-rc4-only", handshake(5, 30, (77, 1), 3, b"\x42" * 500))
write("mse", "responder-nothing-in-common", handshake(3, 0, (77, 1), 2, b"\x42" * 68))


def exchange(added, added6, dropped):
    def string(data):
        return b"%d:%s" % (len(data), data)

    v4, v6 = RNG.randbytes(6 * added), RNG.randbytes(18 * added6)
    lists = [
        (b"added", v4), (b"added.f", RNG.randbytes(added)),
        (b"added6", v6), (b"added6.f", RNG.randbytes(added6)),
        (b"dropped", RNG.randbytes(6 * dropped)), (b"dropped6", b""),
    ]
    return b"d" + b"".join(string(key) + string(value) for key, value in lists) + b"e"


write("pex", "usual", exchange(3, 1, 1))
write("pex", "flood", exchange(300, 150, 120))
write("pex", "cut", b"d5:added9:\xc0\x00\x02\x01\x01\x02\xc0\x00\x02e")
write("holepunch", "asks", b"\0\0\xc0\x00\x02\x02\x1a\xe1\0\0\0\0" * 3)
write("holepunch", "names", b"\1\0\xc6\x33\x64\x02\x1a\xe1\0\0\0\0" * 3)
write("portmap", "nat-pmp", b"\0\0\x82\0\0\0\0\0\t\x1a\xe1\x27\x10\0\0\0\x3c")
PCP = b"\2\x81\0\0\0\0\x0e\x10\0\0\0\x4d" + bytes(12) + b"twelve bytes\x11\0\0\0\x1a\xe1\x1b\x58"
write("portmap", "pcp", b"\1" + PCP + bytes(10) + b"\xff\xff\xc6\x33\x64\x09")
write("portmap", "ssdp", b"\2HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
      b"LOCATION: http://192.168.1.1:5000/root.xml\r\n\r\n")
write("portmap", "description", b"\3<root><device><serviceList><service><serviceType>urn:schemas-upnp-org:"
      b"service:WANIPConnection:1</serviceType><controlURL>/ctl?a=1&amp;b</controlURL></service>"
      b"</serviceList></device></root>")
write("portmap", "routes", b"\4eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n")
def dht(*steps):
    """What, from whom, the wait, and a packet, in which %T is the id of our last query there."""
    return b"".join(bytes([what, who, wait, len(packet)]) + packet for what, who, wait, packet in steps)


NODE, TARGET = b"2:id20:abcdefghij0123456789", b"20:mnopqrstuvwxyz123456"
TAIL = b"1:t2:aa1:y1:qe"
QUERIES = {
    "ping": b"d1:ad" + NODE + b"e1:q4:ping" + TAIL,
    "find_node": b"d1:ad" + NODE + b"6:target" + TARGET + b"4:wantl2:n42:n6ee1:q9:find_node" + TAIL,
    "get_peers": b"d1:ad" + NODE + b"9:info_hash" + TARGET + b"6:scrapei1ee1:q9:get_peers" + TAIL,
    "announce_peer": b"d1:ad" + NODE + b"12:implied_porti1e9:info_hash" + TARGET
    + b"4:porti6881e5:token8:aoeusnthe1:q13:announce_peer" + TAIL,
    "get": b"d1:ad" + NODE + b"6:target" + TARGET + b"e1:q3:get" + TAIL,
    "put": b"d1:ad" + NODE + b"5:token8:aoeusnth1:v12:Hello World!e1:q3:put" + TAIL,
    "sample": b"d1:ad" + NODE + b"6:target" + TARGET + b"e1:q17:sample_infohashes" + TAIL,
}
for name, packet in QUERIES.items():
    write("dht", name, dht((8, 1, 1, packet), (8, 0, 20, packet)))
NODES = b"5:nodes26:abcdefghij0123456789\x02\x05\x07\x08\x1a\xe1"
VALUES = b"5:token2:xx6:valuesl6:\x02\x09\x07\x08\x1a\xe1e"
REPLY = b"d2:ip6:\x08\x08\x08\x08\x1a\xe11:rd" + NODE + NODES + VALUES + b"e1:t4:%T1:y1:re"
ERROR = b"d1:eli203e4:Oopse1:t4:%T1:y1:ee"
for what, name in enumerate(["find", "announce", "get", "put", "put-mutable", "sample"]):
    packet = b"3:abc" if name == "put" else b""
    write("dht", f"walk-{name}", dht((what, 9, 1, packet), (8, 1, 2, REPLY), (8, 5, 2, REPLY),
                                     (8, 9, 2, REPLY), (8, 1, 90, REPLY), (8, 5, 90, ERROR)))
def carried(steps, trouble):
    """A uTP transfer: time passes and packets arrive, with some trouble in between."""
    out = b""
    for _ in range(steps):
        out += bytes([0, 8, RNG.randrange(60)])
        for _ in range(RNG.randrange(1, 6)):
            out += bytes([4, 0, 2 * RNG.randrange(90)])
        if RNG.random() < trouble:
            out += bytes([RNG.choice([4, 7, 8, 9, 10]), RNG.randrange(256), RNG.randrange(256)])
    return out


for name, trouble in (("clean", 0), ("lossy", 0.2), ("hostile", 0.6)):
    write("utp", name, carried(150, trouble))
for n in range(4):
    write("utp", f"course-{n}", RNG.randbytes(300))

HASH = "a9993e364706816aba3e25717850c26c9cd0d89d"
V2_HASH = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
write("magnet", "v1", f"magnet:?xt=urn:btih:{HASH}&dn=a+b&tr=http%3A%2F%2Ft%2Fa&x.pe=[::1]:9&so=0,2-4".encode())
write("magnet", "hybrid", f"magnet:?xt=urn:btmh:1220{V2_HASH}&xt.1=urn:btih:{HASH}&ws=http://w/".encode())
write("magnet", "base32", b"magnet:?xt=urn:btih:VK54ZXPO74ABCIRTIRKWM54ITGVLXTG5")


def said(what, which, payload):
    return bytes([what, which, len(payload)]) + payload


def offer(size):
    return b"d1:md11:ut_metadatai3ee13:metadata_sizei%dee" % size


def data(size, info):
    return b"d8:msg_typei1e5:piecei0e10:total_sizei%dee" % size + info


JOIN, LEAVE, PASS, GREET, TELL = 0, 1, 2, 3, 4
one = bytes([JOIN, 1, 0]) + said(GREET, 0, offer(3))
write("metadata", "honest", one + said(TELL, 0, data(3, b"abc")))
write("metadata", "liar", one + said(TELL, 0, data(3, b"abd")) + bytes([JOIN, 9, 0]))
write("metadata", "contradiction", one + said(TELL, 0, data(4, b"abcd")))
write("metadata", "rejected", one + said(TELL, 0, b"d8:msg_typei2e5:piecei0ee") + bytes([PASS, 255, 0]) * 3)
large = b"".join(bytes([JOIN, n, 0]) + said(GREET, n, offer(1 << n)) for n in range(1, 31))
write("metadata", "sizes", large + bytes([PASS, 20, 0]) * 20 + bytes([LEAVE, 3, 0]))
write("metadata", "message", data(3425, b"x" * 64))


def trees(rng, kind):
    """A torrent with hash trees is fetched of two peers and a web seed, that answer most of what they are
    asked."""
    out = bytes([kind, 0, 0x61, 0, 0x62, 1, 0])
    for _ in range(150):
        out += bytes([rng.choice([4, 4, 4, 8, 9, 11]), rng.randrange(256), rng.randrange(256)])
        if rng.random() < 0.1:
            out += bytes([rng.choice([3, 12, 13, 14, 0x84]), *rng.randbytes(6)])
    return out


OWN = random.Random("trees")
for kind in (0, 1, 2, 3, 4, 5, 0x18, 0x31):
    write("swarm_trees", f"download-{kind}", trees(OWN, kind))
    write("swarm_trees", f"course-{kind}", bytes([kind]) + OWN.randbytes(300))
