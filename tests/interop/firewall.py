"""A gateway that opens pinholes for IPv6 by script, PCP or UPnP, and writes down what it is asked. It is
known by the address of its link alone, and names another one for its description.
"""

import http.server
import re
import socket
import struct
import threading
import time

MAPPING_PORT = 5351
SEARCH_PORT = 1900
SEARCH_GROUP = "ff02::c"
KINDS = {6: "TCP", 17: "UDP"}
SERVICE = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"
DESCRIPTION = f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceList><device><serviceList><service><serviceType>{SERVICE}</serviceType>
<controlURL>/6fc</controlURL></service></serviceList></device></deviceList></device></root>"""


class Firewall:
    """`speaks`: `pcp`, `upnp`, or `both`: PCP then, but it would lead another port to ours. `life`: seconds
    that it gives (PCP)."""

    def __init__(self, lab, house, speaks, life=3600):
        self.speaks, self.house, self.life = speaks, house, life
        self.began = time.monotonic() - 1000
        self.open = {}  # (address, protocol, port) -> its number
        self.asked = []  # (what, address, protocol, port); of what is known by its number alone, that
        self.is_on, self.numbers = True, 100
        self._stopped, self._threads = False, []
        self.scope = socket.if_nametoindex(house.outside)
        lab.at_end(self.stop)
        if speaks != "upnp":
            self._serve(MAPPING_PORT, self._mapping)
        if speaks == "pcp":
            return
        self._serve(SEARCH_PORT, self._search)
        handler = type("Handler", (_Http,), {"firewall": self})
        server = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": socket.AF_INET6})
        self.http = server(("::", 0), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def _serve(self, port, answer):
        door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        door.bind((self.house.gateway_ipv6, port, 0, self.scope))
        door.settimeout(0.1)

        def serve():
            while not self._stopped:
                try:
                    asked, whom = door.recvfrom(2048)
                except TimeoutError:
                    continue
                said = answer(asked, whom[0])
                if said:
                    door.sendto(said, whom)
            door.close()

        self._threads.append(threading.Thread(target=serve, daemon=True))
        self._threads[-1].start()

    def stop(self):
        self._stopped = True
        for thread in self._threads:
            thread.join()
        if self.speaks != "pcp":
            self.http.shutdown()
            self.http.server_close()

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
        assert internal == external and asked[44:] == b"\0" * 16, asked
        key = (ip, KINDS[kind], internal)
        if self.speaks == "both":
            self.asked.append(("translate" if seconds else "forget", *key))
            external ^= 1
        elif seconds:
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
        location = f"http://[2001:db8:ffff::1]:{self.http.server_address[1]}/root.xml"
        kind = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
        return f"HTTP/1.1 200 OK\r\nST: {kind}\r\nLOCATION: {location}\r\n\r\n".encode()


class _Http(http.server.BaseHTTPRequestHandler):
    firewall = None

    def do_GET(self):
        self._say(200, DESCRIPTION)

    def do_POST(self):
        firewall = self.firewall
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        service, action = self.headers["SOAPAction"].strip('"').split("#")
        assert service == SERVICE and "%" not in self.headers["Host"], self.headers

        def argument(name):
            return re.search(f"<{name}>(.*?)</{name}>", body).group(1)

        if action == "GetFirewallStatus":
            on = int(firewall.is_on)
            inner = f"<FirewallEnabled>{on}</FirewallEnabled>"
            return self._answer(action, inner + "<InboundPinholeAllowed>1</InboundPinholeAllowed>")
        if action == "AddPinhole":
            ip = argument("InternalClient")
            if ip != self.client_address[0]:
                return self._fault(606, "Action not authorized")
            assert argument("RemoteHost") == "" and argument("RemotePort") == "0", body
            assert 1 <= int(argument("LeaseTime")) <= 86400, body
            kind = KINDS[int(argument("Protocol"))]
            number = firewall.opened(ip, kind, int(argument("InternalPort")))
            return self._answer(action, f"<UniqueID>{number}</UniqueID>")
        key = firewall.by_number(int(argument("UniqueID")))
        if key is None:
            return self._fault(704, "NoSuchEntry")
        if action == "UpdatePinhole":
            assert 1 <= int(argument("NewLeaseTime")) <= 86400, body
            firewall.asked.append(("keep", *key))
        elif action == "DeletePinhole":
            firewall.asked.append(("close", *key))
            del firewall.open[key]
        return self._answer(action)

    def _answer(self, action, inner=""):
        answer = f'<u:{action}Response xmlns:u="{SERVICE}">{inner}</u:{action}Response>'
        self._say(200, f"<s:Envelope><s:Body>{answer}</s:Body></s:Envelope>")

    def _fault(self, code, text):
        error = f"<errorCode>{code}</errorCode><errorDescription>{text}</errorDescription>"
        self._say(500, f"<s:Envelope><s:Body><s:Fault>{error}</s:Fault></s:Body></s:Envelope>")

    def _say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass
