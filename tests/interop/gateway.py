"""A gateway that maps nothing and writes down what it is asked: PCP, NAT-PMP and UPnP by script."""

import socket
import struct
import time

from scripted_gateway import KINDS, MAPPING_PORT, SEARCH_PORT, Doors, Upnp, found_at

EXTERNAL_IP = "11.22.33.44"


class Gateway:
    """`speaks`: one of `pcp`, `nat-pmp`, `upnp`. `offset`: what it adds to the port it is asked for.
    `life`: seconds that it gives."""

    def __init__(self, lab, house, speaks, offset=0, life=3600):
        self.speaks, self.offset, self.life = speaks, offset, life
        self.udp_offset = offset  # of PCP alone
        self.ip, self.lab, self.house = house.gateway, lab, house
        self.asked = []  # (what, protocol, internal port, external port, seconds)
        self.began = time.monotonic() - 1000
        self.misled_to = None
        self.doors = Doors(lab)
        self._open(MAPPING_PORT, self._mapping)
        if speaks == "upnp":
            self._open(SEARCH_PORT, self._search)
            self.doors.web(self.ip, _Http, self, socket.AF_INET)

    def _open(self, port, answer):
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.bind((self.ip, port))
        self.doors.datagrams(door, answer)

    def restart(self):
        """Forgets everything, and begins to count anew."""
        self.asked.clear()
        self.began = time.monotonic()

    @property
    def epoch(self):
        return int(time.monotonic() - self.began)

    def mapped(self, protocol, port):
        """How often it was asked to map this port of ours."""
        return len([1 for what, kind, internal, _, seconds in list(self.asked)
                    if (what, kind, internal) == ("map", protocol, port) and seconds != 0])

    def ended(self, protocol):
        return any(what == "end" and kind == protocol for what, kind, *_ in list(self.asked))

    def _note(self, protocol, internal, external, seconds):
        self.asked.append(("map" if seconds else "end", protocol, internal, external, seconds))

    def _mapping(self, asked, _):
        if self.speaks == "pcp" and len(asked) == 60 and asked[:2] == b"\x02\x01":
            seconds, client = struct.unpack_from(">I16s", asked, 4)
            kind, internal, external = asked[36], *struct.unpack_from(">HH", asked, 40)
            assert client[12:] == socket.inet_aton(self.house.ip)
            self._note(KINDS[kind], internal, external, seconds)
            granted = self.life if seconds else 0
            mapped = b"\0" * 10 + b"\xff\xff" + socket.inet_aton(EXTERNAL_IP)
            head = struct.pack(">BBBBII12x", 2, 129, 0, 0, granted, self.epoch)
            offset = self.udp_offset if KINDS[kind] == "UDP" else self.offset
            port = struct.pack(">HH", internal, internal + offset)
            return head + asked[24:40] + port + mapped
        if self.speaks == "nat-pmp" and asked[:1] == b"\0":
            if asked == b"\0\0":
                ip = socket.inet_aton(EXTERNAL_IP)
                return struct.pack(">BBHI4s", 0, 128, 0, self.epoch, ip)
            kind, internal, external, seconds = struct.unpack(">xBxxHHI", asked)
            self._note({1: "UDP", 2: "TCP"}[kind], internal, external, seconds)
            granted = self.life if seconds else 0
            port = internal + self.offset if seconds else 0
            reply = (0, 128 + kind, 0, self.epoch, internal, port, granted)
            return struct.pack(">BBHIHHI", *reply)
        # What every gateway of one of the two says to the other's version.
        if self.speaks in ("pcp", "nat-pmp"):
            return struct.pack(">BBHI", 0, 128 | asked[1], 1, self.epoch)
        return None

    def _search(self, asked, _):
        if not asked.startswith(b"M-SEARCH"):
            return None
        host = self.misled_to or self.ip
        return found_at(f"http://{host}:{self.doors.web_port}/root.xml", 1)


class _Http(Upnp):
    service, control = "urn:schemas-upnp-org:service:WANIPConnection:1", "/control"

    def act(self, action, argument, _):
        if action == "GetExternalIPAddress":
            inner = f"<NewExternalIPAddress>{EXTERNAL_IP}</NewExternalIPAddress>"
            return self.answer(action, inner)
        external, protocol = int(argument("NewExternalPort")), argument("NewProtocol")
        if action == "DeletePortMapping":
            self.gateway._note(protocol, 0, external, 0)
            return self.answer(action)
        assert argument("NewInternalClient") == self.gateway.house.ip
        seconds, internal = int(argument("NewLeaseDuration")), int(argument("NewInternalPort"))
        if seconds:
            return self.fault(725, "OnlyPermanentLeasesSupported")
        if external == internal and self.gateway.offset:
            return self.fault(718, "ConflictInMappingEntry")
        self.gateway.asked.append(("map", protocol, internal, external, 1))
        return self.answer(action)
