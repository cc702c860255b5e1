"""What scripted gateways of both families share: doors for datagrams, and UPnP's side of HTTP."""

import http.server
import re
import threading

MAPPING_PORT = 5351
SEARCH_PORT = 1900
KINDS = {6: "TCP", 17: "UDP"}


def description(service, path):
    return f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceList><device><serviceList><service><serviceType>{service}</serviceType>
<controlURL>{path}</controlURL></service></serviceList></device></deviceList></device></root>"""


def found_at(location, version):
    """The answer to a search."""
    kind = f"urn:schemas-upnp-org:device:InternetGatewayDevice:{version}"
    return f"HTTP/1.1 200 OK\r\nST: {kind}\r\nLOCATION: {location}\r\n\r\n".encode()


class Doors:
    """Everything that a gateway listens on, until the case ends."""

    def __init__(self, lab):
        self.http = None
        self._stopped, self._threads = False, []
        lab.at_end(self.stop)

    def datagrams(self, door, answer):
        """`answer`: of a datagram and who sent it; nothing for none."""
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

    def web(self, address, handler, gateway, family):
        handler = type("Handler", (handler,), {"gateway": gateway})
        server = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
        self.http = server((address, 0), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def web_port(self):
        return self.http.server_address[1]

    def stop(self):
        self._stopped = True
        for thread in self._threads:
            thread.join()
        if self.http:
            self.http.shutdown()
            self.http.server_close()


class Upnp(http.server.BaseHTTPRequestHandler):
    """A device with one service, which `act` answers for."""

    gateway = service = control = None

    def act(self, action, argument, body):
        """`argument`: the value of an argument by its name."""
        raise NotImplementedError

    def do_GET(self):
        self._say(200, description(self.service, self.control))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        service, action = self.headers["SOAPAction"].strip('"').split("#")
        assert service == self.service, self.headers
        self.act(action, lambda name: re.search(f"<{name}>(.*?)</{name}>", body).group(1), body)

    def answer(self, action, inner=""):
        answer = f'<u:{action}Response xmlns:u="{self.service}">{inner}</u:{action}Response>'
        self._say(200, f"<s:Envelope><s:Body>{answer}</s:Body></s:Envelope>")

    def fault(self, code, text):
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
