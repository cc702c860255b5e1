"""Which UDP port peers are told: another one of the gateway, while its TCP port stays, and one of a gateway
that is not ours any more."""

import contextlib
import socket
import struct
import time

from cases.port_mapping import Dweller
from deadline import until
from gateway import Gateway
from house import House
from process import run
from runner import case

HANDSHAKE = b"\x13BitTorrent protocol" + bytes(7) + b"\x01"
"""With the bit of those who have a DHT node (BEP 5)."""
PORT = 9
LIFE = 14
"""Seconds of a mapping, which is renewed at half of them."""


def heard(stream):
    """The ports that a peer says its DHT node has, as it says them."""
    while True:
        length, = struct.unpack(">I", _exactly(stream, 4))
        message = _exactly(stream, length)
        if message[:1] == bytes([PORT]):
            yield struct.unpack(">H", message[1:])[0]


def _exactly(stream, length):
    read = stream.read(length)
    assert len(read) == length, "the seed hung up"
    return read


def said(dweller, kind):
    return [event for event in dweller.peerless.events(dweller.process) if event["event"] == kind]


@contextlib.contextmanager
def connected(house, dweller):
    """A peer in the same network; gives the ports that it hears of."""
    until(lambda: said(dweller, "seeding"), 10, "it to take peers")
    with socket.create_connection((house.ip, dweller.port), 10) as peer:
        peer.sendall(HANDSHAKE + bytes.fromhex(dweller.torrent.info_hash) + b"-XX0000-abcdefghijkl")
        stream = peer.makefile("rb")
        _exactly(stream, 68)
        yield heard(stream)


@case("own-ports/udp-alone", cost=2)
def udp_alone(lab):
    """Peers hear of it, of whom the port of our DHT node is known (BEP 5); trackers need not."""
    house = House(lab, 7)
    gateway = Gateway(lab, house, "pcp", offset=1000, life=4)
    dweller = Dweller(lab, house, more=["--dht-bootstrap", f"{house.gateway}:9"])  # nobody is there
    dweller.wait_for("mapped", udp=dweller.port + 1000)
    with connected(house, dweller) as ports:
        until(lambda: next(ports) == dweller.port + 1000, 10, "the port of the DHT node")
        gateway.udp_offset = 1007
        dweller.wait_for("mapped", tcp=dweller.port + 1000, udp=dweller.port + 1007)
        until(lambda: next(ports) == dweller.port + 1007, 10, "the other one")
    until(dweller.announced, 10, "an announce")
    assert dweller.port + 1007 not in dweller.announced(), dweller.announced()


@case("own-ports/elsewhere", cost=8, seconds=60)
def elsewhere(lab):
    """The host is in another network, whose gateway maps nothing: what the one at home holds leads nowhere."""
    house = House(lab, 7)
    Gateway(lab, house, "pcp", offset=1000, life=LIFE)
    dweller = Dweller(lab, house, more=["--dht-bootstrap", f"{house.gateway}:9"])
    dweller.wait_for("mapped", udp=dweller.port + 1000)
    other = "192.168.7.3"
    for words in (["ip", "addr", "add", f"{other}/24", "dev", house.outside],
                  [*house.within, "ip", "route", "replace", "default", "via", other]):
        assert run(words, lab.folder("ip"), 5).code == 0, words
    began = time.monotonic()
    dweller.wait_for("failed")
    with connected(house, dweller) as ports:
        assert next(ports) == dweller.port
    assert time.monotonic() - began < LIFE, "it would have ended by itself"
