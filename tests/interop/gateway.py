"""A gateway that maps nothing and writes down what it is asked: PCP, NAT-PMP and UPnP by script."""

import http.server
import re
import socket
import struct
import threading
import time

EXTERNAL_IP = "11.22.33.44"
MAPPING_PORT = 5351
SEARCH_PORT = 1900
SEARCH_GROUP = "239.255.255.250"

KINDS = {6: "TCP", 17: "UDP"}


class Gateway:
    """`speaks`: one of `pcp`, `nat-pmp`, `upnp`. `offset`: what it adds to the port it is asked for.
    `life`: seconds that it gives."""

    def __init__(self, lab, house, speaks, offset=0, life=3600):
        self.speaks, self.offset, self.life = speaks, offset, life
        self.ip, self.lab, self.house = house.gateway, lab, house
        self.asked = []  # (what, protocol, internal port, external port, seconds)
        self.began = time.monotonic() - 1000
        self.misled_to = None
        self._stopped, self._threads = False, []
        lab.at_end(self.stop)
        self._serve(MAPPING_PORT, self._mapping)
        if speaks == "upnp":
            self._serve(SEARCH_PORT, self._search)
            handler = type("Handler", (_Http,), {"gateway": self})
            self.http = http.server.ThreadingHTTPServer((self.ip, 0), handler)
            threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def _serve(self, port, answer):
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.bind((self.ip, port))
        door.settimeout(0.1)

        def serve():
            while not self._stopped:
                try:
                    asked, whom = door.recvfrom(2048)
                except TimeoutError:
                    continue
                said = answer(asked)
                if said:
                    door.sendto(said, whom)
            door.close()

        self._threads.append(threading.Thread(target=serve, daemon=True))
        self._threads[-1].start()

    def stop(self):
        self._stopped = True
        for thread in self._threads:
            thread.join()
        if self.speaks == "upnp":
            self.http.shutdown()
            self.http.server_close()

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

    def _mapping(self, asked):
        if self.speaks == "pcp" and len(asked) == 60 and asked[:2] == b"\x02\x01":
            seconds, client = struct.unpack_from(">I16s", asked, 4)
            kind, internal, external = asked[36], *struct.unpack_from(">HH", asked, 40)
            assert client[12:] == socket.inet_aton(self.house.ip)
            self._note(KINDS[kind], internal, external, seconds)
            granted = self.life if seconds else 0
            mapped = b"\0" * 10 + b"\xff\xff" + socket.inet_aton(EXTERNAL_IP)
            head = struct.pack(">BBBBII12x", 2, 129, 0, 0, granted, self.epoch)
            port = struct.pack(">HH", internal, internal + self.offset)
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

    def _search(self, asked):
        if not asked.startswith(b"M-SEARCH"):
            return None
        host = self.misled_to or self.ip
        location = f"http://{host}:{self.http.server_address[1]}/root.xml"
        kind = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
        return f"HTTP/1.1 200 OK\r\nST: {kind}\r\nLOCATION: {location}\r\n\r\n".encode()


SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION = f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceList><device><serviceList><service><serviceType>{SERVICE}</serviceType>
<controlURL>/control</controlURL></service></serviceList></device></deviceList></device></root>"""


class _Http(http.server.BaseHTTPRequestHandler):
    gateway = None

    def do_GET(self):
        self._say(200, DESCRIPTION)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        service, action = self.headers["SOAPAction"].strip('"').split("#")
        assert service == SERVICE

        def argument(name):
            return re.search(f"<{name}>(.*?)</{name}>", body).group(1)

        if action == "GetExternalIPAddress":
            inner = f"<NewExternalIPAddress>{EXTERNAL_IP}</NewExternalIPAddress>"
            return self._answer(action, inner)
        external, protocol = int(argument("NewExternalPort")), argument("NewProtocol")
        if action == "DeletePortMapping":
            self.gateway._note(protocol, 0, external, 0)
            return self._answer(action)
        assert argument("NewInternalClient") == self.gateway.house.ip
        seconds, internal = int(argument("NewLeaseDuration")), int(argument("NewInternalPort"))
        if seconds:
            return self._fault(725, "OnlyPermanentLeasesSupported")
        if external == internal and self.gateway.offset:
            return self._fault(718, "ConflictInMappingEntry")
        self.gateway.asked.append(("map", protocol, internal, external, 1))
        return self._answer(action)

    def _answer(self, action, inner=""):
        answer = f'<u:{action}Response xmlns:u="{SERVICE}">{inner}</u:{action}Response>'
        self._say(200, f"<s:Envelope><s:Body>{answer}</s:Body></s:Envelope>")

    def _fault(self, code, text):
        error = f"<errorCode>{code}</errorCode><errorDescription>{text}</errorDescription>"
        fault = f"<s:Fault><detail><UPnPError>{error}</UPnPError></detail></s:Fault>"
        self._say(500, f"<s:Envelope><s:Body>{fault}</s:Body></s:Envelope>")

    def _say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass
