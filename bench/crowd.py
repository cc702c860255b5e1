#!/usr/bin/env python3
"""Peers that have everything: they dial a downloader, and once all have connected they serve it as
fast as it asks.

    crowd.py IP:PORT PEERS TORRENT=FILE [TORRENT=FILE ...]    says "ready" when it begins to serve

Each of the PEERS connections of a torrent comes from an address of its own in 10.78.0.0/16 (which
must be local), and serves the torrent's single file from memory. Speaks BEP 3 alone.
"""

import asyncio
import hashlib
import itertools
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/interop"))

import bencode  # noqa: E402
import netns  # noqa: E402

HANDSHAKE_BYTES = 68
UNCHOKE, BITFIELD, REQUEST, PIECE = 1, 5, 6, 7


class Peer(asyncio.Protocol):
    def __init__(self, number, info, content):
        self.piece_length, self.content = info[b"piece length"], content
        self.received, self.greeted = bytearray(), False
        pieces = len(info[b"pieces"]) // 20
        bits = (((1 << pieces) - 1) << (-pieces % 8)).to_bytes((pieces + 7) // 8, "big")
        self.greeting = (
            b"\x13BitTorrent protocol" + bytes(8) + hashlib.sha1(bencode.encode(info)).digest()
            + b"-CR0001-%012d" % number
            + struct.pack(">IB", 1 + len(bits), BITFIELD) + bits
        )

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.greeting)

    def data_received(self, data):
        self.received += data
        at = 0
        if not self.greeted:
            if len(self.received) < HANDSHAKE_BYTES:
                return
            self.greeted, at = True, HANDSHAKE_BYTES
        answers = []
        while len(self.received) - at >= 4:
            (length,) = struct.unpack_from(">I", self.received, at)
            if len(self.received) - at - 4 < length:
                break
            if length == 13 and self.received[at + 4] == REQUEST:
                piece, begin, size = struct.unpack_from(">III", self.received, at + 5)
                start = piece * self.piece_length + begin
                answers.append(struct.pack(">IBII", 9 + size, PIECE, piece, begin))
                answers.append(self.content[start : start + size])
            at += 4 + length
        del self.received[:at]
        if answers:
            self.transport.writelines(answers)


async def main():
    endpoint, peers, *torrents = sys.argv[1:]
    ip, port = netns.split(endpoint)
    numbers, loop = itertools.count(), asyncio.get_running_loop()
    connected = []
    known = [pair.split("=") for pair in torrents]
    known = [(bencode.decode(Path(torrent).read_bytes())[b"info"], memoryview(Path(file).read_bytes()))
             for torrent, file in known]
    for _ in range(int(peers)):
        for info, content in known:
            number = next(numbers)
            source = f"10.78.{number // 250}.{number % 250 + 1}"
            transport, _ = await loop.create_connection(
                lambda: Peer(number, info, content), ip, port, local_addr=(source, 0)
            )
            connected.append(transport)
    # Nobody serves before all are there.
    for transport in connected:
        transport.write(struct.pack(">IB", 1, UNCHOKE))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
