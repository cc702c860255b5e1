"""Another UDP port of the gateway that leads to `peerless`, while its TCP port stays."""

import socket
import struct

from cases.port_mapping import Dweller
from deadline import until
from gateway import Gateway
from house import House
from runner import case

HANDSHAKE = b"\x13BitTorrent protocol" + bytes(7) + b"\x01"
"""With the bit of those who have a DHT node (BEP 5)."""
PORT = 9


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


@case("own-ports/udp-alone", cost=2)
def udp_alone(lab):
    """Peers hear of it, of whom the port of our DHT node is known (BEP 5); trackers need not."""
    house = House(lab, 7)
    gateway = Gateway(lab, house, "pcp", offset=1000, life=4)
    dweller = Dweller(lab, house, more=["--dht-bootstrap", f"{house.gateway}:9"])  # nobody is there
    dweller.wait_for("mapped", udp=dweller.port + 1000)
    until(lambda: said(dweller, "seeding"), 10, "it to take peers")
    with socket.create_connection((house.ip, dweller.port), 10) as peer:
        peer.sendall(HANDSHAKE + bytes.fromhex(dweller.torrent.info_hash) + b"-XX0000-abcdefghijkl")
        stream = peer.makefile("rb")
        _exactly(stream, 68)
        ports = heard(stream)
        until(lambda: next(ports) == dweller.port + 1000, 10, "the port of the DHT node")
        gateway.udp_offset = 1007
        dweller.wait_for("mapped", tcp=dweller.port + 1000, udp=dweller.port + 1007)
        until(lambda: next(ports) == dweller.port + 1007, 10, "the other one")
    until(dweller.announced, 10, "an announce")
    assert dweller.port + 1007 not in dweller.announced(), dweller.announced()
