"""nginx (Debian's), as the web server of a torrent's data: a web seed (BEP 19)."""

import http.client
import ssl

import netns
import tools
from deadline import until
from process import Process, run

START_SECONDS = 10

CONFIG = """\
daemon off;
worker_processes 1;
user root;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    log_format told '$connection "$request" $status';
    access_log {home}/access.log told;
    types {{ }}
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    sendfile on;
    {extra}
    server {{ listen {endpoint}{tls}; root "{root}"; {location} }}
}}
"""


class Certificate:
    """Of one address, signed by itself: who trusts it has it as a store."""

    def __init__(self, lab, ip, name):
        home = lab.folder(f"certificate-{name}")
        self.path, self.key = home / "certificate.pem", home / "key.pem"
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{ip}"]
        # What openssl signs is an authority unless it is told, and no server may be one.
        words += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.key, "-out", self.path]
        done = run([tools.program("openssl"), *words], home, START_SECONDS)
        assert done.code == 0, done


class Nginx:
    def __init__(self, lab, root, extra="", secure=False, location="", ip=None):
        """Serves what lies below `root`; `extra` goes into its configuration, `location` into that of its
        only server. `secure`: over TLS, by a certificate of its own. `ip`: beside another server."""
        ip = ip or lab.ip()
        self.endpoint = netns.at(ip, lab.port())
        self.url = f"{'https' if secure else 'http'}://{self.endpoint}/"
        self.certificate = Certificate(lab, ip, self.endpoint) if secure else None
        self.home = lab.folder(f"nginx-{self.endpoint}")
        tls = " ssl" if secure else ""
        if secure:
            location += f" ssl_certificate {self.certificate.path};"
            location += f" ssl_certificate_key {self.certificate.key};"
        values = {"root": root, "extra": extra, "tls": tls, "location": location}
        config = CONFIG.format(home=self.home, endpoint=self.endpoint, **values)
        self.config = self.home / "nginx.conf"
        self.config.write_text(config)
        lab.at_end(self.stop)
        self.start()

    def start(self):
        argv = [tools.program("nginx"), "-p", self.home, "-c", self.config]
        self.process = Process(argv, self.home, f"nginx {self.endpoint}")
        until(self._answers, START_SECONDS, f"{self.process.label} to answer")

    def _answers(self):
        self.process.check_running()
        host, port = netns.split(self.endpoint)
        if self.certificate:
            # Whom peerless trusts is the case's question, not this one's.
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()  # whatever its status: it is there
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _told(self):
        """Its requests for files, a line each."""
        lines = (self.home / "access.log").read_text().splitlines()
        return [line for line in lines if '"GET / ' not in line]

    def requests(self):
        """How many requests for files it had."""
        return len(self._told())

    def connections(self):
        """How many connections these came by."""
        return len({line.split()[0] for line in self._told()})

    def stop(self):
        if self.process.running:
            self.process.stop()
