"""The clients: how each is asked to download, to seed and to check, over plain TCP alone if nothing
else is said, and without DHT."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import netns
import tools

LIBTORRENT_CLIENT = Path(__file__).with_name("libtorrent_client.py")


@dataclass
class Job:
    """What one process shall do, and where."""

    payload: object
    directory: Path  # where the data is or shall be
    home: Path  # for whatever else it writes
    ip: str
    port: int
    peers: tuple = ()  # of ip:port
    tracked: bool = False  # peers come from the torrent's tracker, not only from `peers`
    linked: bool = False  # known by a magnet link alone

    @property
    def endpoint(self):
        return netns.at(self.ip, self.port)

    @property
    def source(self):
        """What a client is told of the torrent."""
        return self.payload.link if self.linked else self.payload.torrent


class Contender:
    """One client. What it can't do raises `NotImplementedError`."""

    name = ""
    environment = ()  # what differs from a clean one

    def __init__(self, program):
        self.program = program

    def leech(self, job):
        """A command that ends, with exit code 0, when everything is there."""
        raise NotImplementedError

    def seed(self, job):
        """A command that listens at the job's endpoint and serves until it is stopped."""
        raise NotImplementedError

    def check(self, job):
        """A command that hashes everything and ends, with exit code 0 when it is right."""
        raise NotImplementedError

    def version(self):
        return _first_line([self.program, "--version"])


class Peerless(Contender):
    name = "peerless"
    transport = "tcp"
    options = ()  # more of them, for downloading and seeding

    def _where(self, job):
        words = ["--bind", job.ip, "--port", job.port, "--state-dir", job.home / "state"]
        words += ["--transport", self.transport, "--no-dht", *self.options]
        return words + ([] if job.tracked else ["--no-tracker"])

    def leech(self, job):
        peers = [word for peer in job.peers for word in ("--peer", peer)]
        what = [job.source, "-o", job.directory, "--quiet"]
        return [self.program, "get", *what, *peers, *self._where(job)]

    def seed(self, job):
        return [self.program, "seed", job.payload.torrent, job.directory, "--json", *self._where(job)]

    def check(self, job):
        return [self.program, "check", job.payload.torrent, job.directory, "--quiet"]


class PeerlessShaNi(Peerless):
    """As on a machine without AVX-512."""

    name = "peerless, SHA-NI"
    environment = (("PEERLESS_DIGEST", "sha-ni"),)


class PeerlessEncrypted(Peerless):
    """With encrypted handshakes alone (MSE), and plaintext behind them."""

    name = "peerless, encrypted"
    options = ("--encryption", "require")


class PeerlessUtp(Peerless):
    name = "peerless, uTP"
    transport = "utp"


class Libtorrent(Contender):
    """`program` is a Python that can import libtorrent."""

    name = "libtorrent"
    options = ()

    def _command(self, mode, job):
        what = [job.source, job.directory, job.endpoint]
        return [self.program, LIBTORRENT_CLIENT, mode, *what, *self.options]

    def leech(self, job):
        return self._command("leech", job)

    def seed(self, job):
        return self._command("seed", job)

    def check(self, job):
        return self._command("check", job)

    def version(self):
        code = "import libtorrent; print('libtorrent', libtorrent.__version__)"
        return _first_line([self.program, "-c", code])


class LibtorrentUtp(Libtorrent):
    name = "libtorrent, uTP"
    options = ("--utp",)


class Aria2(Contender):
    """It takes peers from trackers alone."""

    name = "aria2"

    def _command(self, job, *extra):
        return [
            self.program, "--no-conf", "--quiet=true", f"--dir={job.directory}", f"--interface={job.ip}",
            f"--listen-port={job.port}", "--disable-ipv6=true", "--enable-dht=false", "--enable-dht6=false",
            "--bt-enable-lpd=false", "--file-allocation=none", "--bt-max-peers=0",
            "--bt-request-peer-speed-limit=0", "--bt-max-open-files=1000", "--summary-interval=0", *extra,
            job.source,
        ]

    def leech(self, job):
        return self._command(job, "--seed-time=0")

    def seed(self, job):
        return self._command(job, "--seed-ratio=0.0", "--check-integrity=true", "--allow-overwrite=true")

    def check(self, job):
        return self._command(job, "--hash-check-only=true", "--check-integrity=true", "--allow-overwrite=true")

    def version(self):
        return _first_line([self.program, "--version"]).replace(" version", "")


class Rqbit(Contender):
    name = "rqbit"

    def _command(self, job, *extra):
        peers = ["--initial-peers", ",".join(job.peers)] if job.peers else []
        return [
            self.program, "-v", "error", "--disable-dht", "--disable-lsd", "--disable-upnp-port-forward",
            "--listen-ip", job.ip, "--listen-port", job.port, "download", "--disable-http-api",
            "-o", job.directory, *extra, *peers, job.source,
        ]

    def leech(self, job):
        return self._command(job, "--exit-on-finish")

    def seed(self, job):
        return self._command(job, "--overwrite")

    def check(self, job):
        return self._command(job, "--overwrite", "--exit-on-finish")


class Rtorrent(Contender):
    """It refuses a torrent without a tracker. A seeder only: as a leecher 0.9.8 stops in the middle of what libtorrent sends it."""

    name = "rtorrent"

    def seed(self, job):
        job.home.mkdir(parents=True, exist_ok=True)
        (job.home / "session").mkdir(exist_ok=True)
        settings = job.home / "rtorrent.rc"
        settings.write_text(
            f"""
system.daemon.set = true
directory.default.set = "{job.directory}"
session.path.set = "{job.home}/session"
network.port_range.set = {job.port}-{job.port}
network.port_random.set = no
protocol.encryption.set = none
protocol.pex.set = no
dht.mode.set = disable
trackers.use_udp.set = no
throttle.global_up.max_rate.set_kb = 0
pieces.memory.max.set = 8000M
schedule2 = load,0,0,"load.start={job.payload.torrent}"
"""
        )
        return [self.program, "-n", "-o", f"import={settings}"]

    def version(self):
        return "rtorrent " + _first_line([self.program, "-h"]).rpartition(" ")[2].rstrip(".")


class Transmission(Contender):
    """Only in the row of idle torrents (see idle.py): its timers make any download take 11 s."""

    name = "transmission"

    def version(self):
        return _first_line([self.program, "--version"]).partition(" (")[0].replace("-daemon", "")


def find(peerless, python=None, rqbit=None):
    """The clients that are here by name, and why the others are not."""
    ours = (Peerless, PeerlessShaNi, PeerlessEncrypted, PeerlessUtp)
    found, missing = {kind.name: kind(peerless) for kind in ours}, {}
    python = _libtorrent_python(python)
    if python:
        found |= {kind.name: kind(python) for kind in (Libtorrent, LibtorrentUtp)}
    else:
        missing["libtorrent"] = "no Python that can import it (--python)"
    rqbit = rqbit or next((path for path in [tools.TARGET / "bench/bin/rqbit"] if path.exists()), "rqbit")
    for kind, program in [(Aria2, "aria2c"), (Rqbit, str(rqbit)), (Rtorrent, "rtorrent"),
                          (Transmission, "transmission-daemon")]:
        try:
            found[kind.name] = kind(tools.program(program))
        except tools.Missing:
            missing[kind.name] = f"no {program}"
    return found, missing


def _libtorrent_python(named):
    candidates = [named] if named else [
        tools.TARGET / "bench/venv/bin/python", tools.PYTHON_WITH_LIBTORRENT, sys.executable
    ]
    for python in candidates:
        try:
            subprocess.run([python, "-c", "import libtorrent"], check=True, capture_output=True)
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


def _first_line(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    return (done.stdout + done.stderr).strip().splitlines()[0]
