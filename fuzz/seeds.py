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
