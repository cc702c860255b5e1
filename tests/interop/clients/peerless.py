"""The client under test, driven by its command line alone."""

import enum
import json
import signal
from dataclasses import dataclass

import netns
from clients.base import Client
from deadline import until
from process import Finished, Process, run

START_SECONDS = 20


class Exit(enum.IntEnum):
    """The exit codes that the README promises."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BAD_TORRENT = 3
    NO_PEERS = 4
    DISK = 5
    VERIFICATION = 6
    WRONG_INFO_HASH = 10
    CLOSED_EARLY = 11
    NOT_BITTORRENT = 12
    TIMED_OUT = 13
    CANNOT_CONNECT = 14
    INTERRUPTED = 130


@dataclass
class Answer:
    """A finished command and the JSON it printed."""

    finished: Finished
    lines: list

    @property
    def json(self):
        """The one document, or the last of several lines."""
        return self.lines[-1]


class Peerless(Client):
    name = "peerless"

    def __init__(self, lab, arguments=(), transport=None, trusts=None, **options):
        """`arguments`: more of them, for `get` and `seed`; `transport`: what it may use, other than
        what it does by itself; `trusts`: a file of certificates, in the place of the system's."""
        super().__init__(lab, **options)
        self.program = self.lab.peerless_path
        self.before = ["env", f"SSL_CERT_FILE={trusts}"] if trusts else []
        self.arguments = [*arguments, *(["--transport", transport] if transport else [])]
        self._seeds = {}  # info hash -> (process, port)
        self.get = None

    def run(self, *arguments, code=Exit.DONE, seconds=30):
        """Run a command and insist on its exit code."""
        done = run([*self.before, self.program, *arguments], self.home, seconds)
        with (self.home / f"{self.label}.log").open("a") as log:
            log.write(f"{done}\n")
        assert done.code == code, f"exit code {done.code}, not {code} ({code.name})\n{done}"
        return done

    def json(self, *arguments, **options):
        """Run a command with `--json`."""
        done = self.run(*arguments, "--json", **options)
        try:
            lines = [json.loads(line) for line in _documents(done.out)]
        except ValueError as problem:
            raise AssertionError(f"not JSON ({problem})\n{done}") from None
        assert lines, f"--json printed nothing\n{done}"
        return Answer(done, lines)

    def start(self, log, *arguments):
        argv = [*self.before, self.program, *arguments, "--json"]
        return Process(argv, self.home, f"{self.label} {arguments[0]}", log=self.home / log)

    def serving(self, torrent):
        if torrent.info_hash in self._seeds:
            return netns.at(self.ip, self._seeds[torrent.info_hash][1])
        return self.endpoint

    def seed(self, torrents, directory, *arguments):
        """One process a torrent, each on a port of its own."""
        for torrent in torrents:
            port = self.lab.port()
            where = ["--port", port, "--bind", self.ip]
            log = f"seed-{port}.log"
            words = [torrent.path, directory, *where, *self.arguments, *arguments]
            process = self.start(log, "seed", *words)
            self._seeds[torrent.info_hash] = (process, port)
        for process, _ in self._seeds.values():
            self.wait_for_event(process, "seeding", START_SECONDS)

    def download(self, torrents, out, seeders=(), by_magnet=False, extra=()):
        peers = sorted({seeder.serving(torrent) for seeder in seeders for torrent in torrents})
        arguments = [t.magnet() if by_magnet else t.path for t in torrents] + ["-o", out]
        arguments += [word for peer in peers for word in ("--peer", peer)]
        arguments += ["--port", self.port, "--bind", self.ip, *self.arguments, *extra]
        self.get = self.start("get.log", "get", *arguments)

    def kill(self):
        self.get.kill()

    def wait_complete(self, seconds):
        code = self.get.wait(seconds)
        assert code == Exit.DONE, f"`get` ended with exit code {code}"

    @staticmethod
    def events(process):
        """What a running command has said so far, one JSON document a line."""
        lines = process.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def wait_for_event(self, process, name, seconds):
        """The first event of that name."""

        def said():
            found = [event for event in self.events(process) if event["event"] == name]
            return found or not process.check_running()

        return until(said, seconds, f"{process.label} to say {name!r}")[0]

    def summary(self):
        """What a finished `get` says at its end: what was fetched, what was wasted."""
        return [event for event in self.events(self.get) if event["event"] == "summary"][-1]

    def stop(self):
        processes = [process for process, _ in self._seeds.values()]
        if self.get:
            processes.append(self.get)
        for process in processes:
            process.send(signal.SIGINT)
        for process in processes:
            process.ended()  # a second signal would end it without a word to its trackers
        self._seeds = {}


def _documents(out):
    """One document over several lines, or one a line."""
    try:
        return [json.dumps(json.loads(out))]
    except ValueError:
        return [line for line in out.splitlines() if line.strip()]
