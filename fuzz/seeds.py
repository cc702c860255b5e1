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
