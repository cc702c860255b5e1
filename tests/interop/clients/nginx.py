"""nginx (Debian's), as the web server of a torrent's data: a web seed (BEP 19)."""

import urllib.error
import urllib.request

import netns
import tools
from deadline import until
from process import Process

START_SECONDS = 10

CONFIG = """\
daemon off;
worker_processes 1;
user root;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {home}/access.log;
    types {{ }}
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    sendfile on;
    {extra}
    server {{ listen {endpoint}; root "{root}"; }}
}}
"""


class Nginx:
    def __init__(self, lab, root, extra=""):
        """Serves what lies below `root`; `extra` goes into its configuration."""
        self.endpoint = netns.at(lab.ip(), lab.port())
        self.url = f"http://{self.endpoint}/"
        self.home = lab.folder(f"nginx-{self.endpoint}")
        config = CONFIG.format(home=self.home, root=root, endpoint=self.endpoint, extra=extra)
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
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except urllib.error.HTTPError:
            return True  # 403 for the folder: it is there
        except OSError:
            return False
        return True

    def requests(self):
        """How many requests for files it had."""
        lines = (self.home / "access.log").read_text().splitlines()
        return sum('"GET / ' not in line for line in lines)

    def stop(self):
        if self.process.running:
            self.process.stop()
