"""A download from a web server alone (BEP 19): nginx has the file, and the torrent names it."""

import copy

import bencode
import netns
import tools
import transfer
from contenders import Job
from processes import READY_SECONDS, Running

CONFIG = """daemon off; worker_processes 1; user root; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; sendfile on; types {{ }} client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    server {{ listen {endpoint}; root "{root}"; }}
}}
"""


def from_nginx(bench, payload, label):
    """Figures of a client that has nothing but the server; the server's are those of the seeder."""
    folder = bench.folder()
    home, endpoint = folder / "nginx", netns.at(bench.ip(), bench.port())
    home.mkdir()
    config = home / "nginx.conf"
    config.write_text(CONFIG.format(home=home, endpoint=endpoint, root=payload.data))
    server = Running([tools.program("nginx"), "-p", home, "-c", config], home)
    try:
        server.until(lambda: transfer.listens(endpoint), READY_SECONDS, "to listen")
        job = Job(_named(payload, folder / "web.torrent", f"http://{endpoint}/"), folder / "out", folder / "get",
                  bench.ip(), bench.port())
        return transfer.measure(bench.contenders[label], [job], [server], payload)
    finally:
        server.stop()


def _named(payload, path, url):
    """The same payload by a .torrent that names a web seed, and no tracker."""
    path.write_bytes(bencode.encode({"info": payload.info, "url-list": url}))
    named = copy.copy(payload)
    named.torrent = path
    return named
