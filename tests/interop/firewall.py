"""A gateway that opens pinholes for IPv6 by script, PCP or UPnP, and writes down what it is asked. It is
known by the address of its link alone, and names another one for its description.
"""

import socket
import struct
import time

from scripted_gateway import KINDS, MAPPING_PORT, SEARCH_PORT, Doors, Upnp, found_at


class Firewall:
    """`speaks`: `pcp`, `upnp`, or `both`: PCP then, but it would lead another port to ours for each
    protocol. `life`: seconds that it gives, `offset`: what it adds to the port (both PCP)."""

    def __init__(self, lab, house, speaks, life=3600, offset=0):
        self.speaks, self.house, self.life, self.offset = speaks, house, life, offset
        self.began = time.monotonic() - 1000
        self.open = {}  # (address, protocol, port) -> its number
        self.asked = []  # (what, address, protocol, port); of what is known by its number alone, that
        self.is_on, self.numbers = True, 100
        self.scope = socket.if_nametoindex(house.outside)
        self.doors = Doors(lab)
        if speaks != "upnp":
            self._open(MAPPING_PORT, self._mapping)
        if speaks != "pcp":
            self._open(SEARCH_PORT, self._search)
            self.doors.web("::", _Http, self, socket.AF_INET6)

    def _open(self, port, answer):
        door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        door.bind((self.house.gateway_ipv6, port, 0, self.scope))
        self.doors.datagrams(door, answer)

    def forget(self):
        """Loses everything, and begins to count anew."""
        self.open.clear()
        self.asked.clear()
        self.began = time.monotonic()

    def times(self, what, port):
        """How often each address asked for this, by TCP and by UDP."""
        return [len([1 for line in list(self.asked) if line == (what, ip, kind, port)])
                for ip in self.house.ipv6 for kind in KINDS.values()]

    def holes(self, port):
        """Whether all of them are open, none, or some."""
        wanted = {(ip, kind, port) for ip in self.house.ipv6 for kind in KINDS.values()}
        there = wanted & set(self.open)
        return "all" if there == wanted else "some" if there else "none"

    def opened(self, ip, protocol, port, what="open"):
        self.asked.append((what, ip, protocol, port))
        self.numbers += 1
        self.open[ip, protocol, port] = self.numbers
        return self.numbers

    def by_number(self, number):
        return next((key for key, other in self.open.items() if other == number), None)

    def _mapping(self, asked, source):
        assert len(asked) == 60 and asked[:2] == b"\x02\x01", asked
        seconds, client = struct.unpack_from(">I16s", asked, 4)
        kind, internal, external = asked[36], *struct.unpack_from(">HH", asked, 40)
        ip = socket.inet_ntop(socket.AF_INET6, client)
        assert ip == source, f"{ip} is not where it came from, {source}"
        assert asked[44:] == b"\0" * 16, asked
        key = (ip, KINDS[kind], internal)
        if self.speaks == "both":
            self.asked.append(("translate" if seconds else "forget", *key))
            external = internal + kind
        elif seconds:
            external = internal + self.offset
            self.opened(*key)
        else:
            self.asked.append(("close", *key))
            self.open.pop(key, None)
        epoch = int(time.monotonic() - self.began)
        head = struct.pack(">BBBBII12x", 2, 129, 0, 0, self.life if seconds else 0, epoch)
        return head + asked[24:40] + struct.pack(">HH", internal, external) + client

    def _search(self, asked, _):
        if not asked.startswith(b"M-SEARCH"):
            return None
        # An address that is not its own on this link: it is asked at the one that it is known by.
        return found_at(f"http://[2001:db8:ffff::1]:{self.doors.web_port}/root.xml", 2)


class _Http(Upnp):
    service, control = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1", "/6fc"

    def act(self, action, argument, body):
        firewall = self.gateway
        assert "%" not in self.headers["Host"], self.headers
        if action == "GetFirewallStatus":
            on = int(firewall.is_on)
            inner = f"<FirewallEnabled>{on}</FirewallEnabled>"
            return self.answer(action, inner + "<InboundPinholeAllowed>1</InboundPinholeAllowed>")
        if action == "AddPinhole":
            ip = argument("InternalClient")
            if ip != self.client_address[0]:
                return self.fault(606, "Action not authorized")
            assert argument("RemoteHost") == "" and argument("RemotePort") == "0", body
            assert 1 <= int(argument("LeaseTime")) <= 86400, body
            kind = KINDS[int(argument("Protocol"))]
            number = firewall.opened(ip, kind, int(argument("InternalPort")))
            return self.answer(action, f"<UniqueID>{number}</UniqueID>")
        key = firewall.by_number(int(argument("UniqueID")))
        if key is None:
            return self.fault(704, "NoSuchEntry")
        if action == "UpdatePinhole":
            assert 1 <= int(argument("NewLeaseTime")) <= 86400, body
            firewall.asked.append(("keep", *key))
        elif action == "DeletePinhole":
            firewall.asked.append(("close", *key))
            del firewall.open[key]
        return self.answer(action)
