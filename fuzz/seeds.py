#!/usr/bin/env python3
"""Makes the seeds of the targets that are driven by events: random courses, and typical requests.

    fuzz/seeds.py        # writes seeds/TARGET/...; the same files each time
"""

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
