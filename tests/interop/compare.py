#!/usr/bin/env python3
"""The same bad luck for `peerless` and for clients that others wrote, side by side.

    tests/interop/compare.py                    # prints the table of docs/reliability.md
    tests/interop/compare.py --only 'kill*' --clients peerless,transmission

As root, after `.ci/setup` and a release build. Everything happens in a network namespace of its own.
"""

import argparse
import fnmatch
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import netns
import payloads
import tools
from cases.corruption import damage
from deadline import TooLate, until
from lab import Lab

CLIENTS = ("peerless", "libtorrent", "transmission", "aria2")
MIB = 1 << 20
FIGURE = re.compile(r"\{:[^}]*\}")
START_SECONDS = 60
"""How long a client may take to ask its peers for the first byte."""


class Download:
    """One client that fetches one torrent from libtorrent seeders."""

    def __init__(self, lab, kind, torrent, seeders, out=None):
        self.torrent, self.seeders = torrent, seeders
        self.client = lab.client(kind)
        self.out = out or lab.folder("out")
        self.extra = {"extra": ["--no-tracker"]} if kind == "peerless" else {}
        self.begin()

    def begin(self):
        self.client.download([self.torrent], self.out, self.seeders, **self.extra)

    def uploaded(self):
        statuses = [seeder.status()[self.torrent.info_hash] for seeder in self.seeders]
        return sum(status["payload_uploaded"] for status in statuses)

    def wait_for(self, uploaded):
        until(lambda: self.uploaded() >= uploaded, START_SECONDS, f"{uploaded} bytes")

    def complete(self, seconds):
        """Seconds until it says that it is complete, `None` when it does not; and what else it said."""
        start, said = time.monotonic(), ""
        while time.monotonic() - start < seconds:
            try:
                self.client.wait_complete(1)
                return time.monotonic() - start, said
            except TooLate:
                pass
            except AssertionError as error:
                said = str(error).strip().splitlines()[0]
                time.sleep(0.5)  # the client is asked again: it may recover
        return None, said

    def verdict(self):
        """Whether the copy is right, once the client has ended."""
        self.client.stop()
        wrong = self.torrent.differences(self.out)
        return "right" if not wrong else f"**wrong** ({wrong[0]})"


def seeder(lab, torrent, rate, home=None):
    made = lab.client("libtorrent")
    made.seed([torrent], home or torrent.home, upload_limit=rate)
    return made


def disk_full(lab, kind):
    """A disk of 3 MiB for 6 MB; space comes once the download has stood still for five seconds."""
    torrent = payloads.make(lab.directory, "large.bin", 6_000_000, 256 * 1024)
    out = lab.folder("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", out], check=True)
    lab.at_end(lambda: subprocess.run(["umount", "--lazy", out], check=True))
    download = Download(lab, kind, torrent, [seeder(lab, torrent, 0)], out)
    download.wait_for(1)
    before, since = download.uploaded(), time.monotonic()
    while time.monotonic() - since < 5:
        time.sleep(0.2)
        now = download.uploaded()
        if now > before:
            before, since = now, time.monotonic()
    subprocess.run(["mount", "-o", "remount,size=16m", out], check=True)
    took, said = download.complete(45)
    if took is None:
        return f"stops, and stays so for 45 s after there is space ({said or 'says nothing'})",
    return f"complete {{:.0f}} s after there is space, {download.verdict()}", took


def kill_9(lab, kind):
    """24 MiB at 3 MiB/s, killed five times on the way and started again."""
    kills, rate = 5, 3 * MIB
    torrent = payloads.make(lab.directory, "killed.bin", 24 * MIB, 256 * 1024)
    download = Download(lab, kind, torrent, [seeder(lab, torrent, rate)])
    for number in range(kills):
        download.wait_for(download.uploaded() + torrent.size // (kills + 2))
        download.client.kill()
        download.client.resume([torrent], download.out, download.seeders, **download.extra)
    took, said = download.complete(90)
    again = (download.uploaded() - torrent.size) / MIB
    if took is None:
        return f"not complete 90 s after the last ({said or 'says nothing'})",
    verdict = download.verdict()
    if again < 0:
        return f"says that it is complete with {{:.1f}} MiB never fetched, {verdict}", -again
    return f"{{:.1f}} MiB fetched again, {verdict}", again


def corrupt_peer(lab, kind):
    """6 MiB from an honest peer at 1 MiB/s and one whose every other piece is wrong."""
    torrent = payloads.make(lab.directory, "poisoned.bin", 6 * MIB, 64 * 1024)
    rotten = lab.folder("rotten")
    shutil.copy(torrent.home / torrent.name, rotten)
    honest, liar = seeder(lab, torrent, MIB), seeder(lab, torrent, 0, rotten)
    damage(rotten / torrent.name, torrent)
    download = Download(lab, kind, torrent, [honest, liar])
    download.wait_for(1)
    took, said = download.complete(60)
    served = liar.status()[torrent.info_hash]["payload_uploaded"] / MIB
    wasted = (download.uploaded() - torrent.size) / MIB
    if took is None:
        return f"not complete after 60 s ({said or 'says nothing'})",
    assert served, "the liar sent nothing: the run shows nothing"
    return f"{{:.0f}} s, {{:.1f}} MiB in vain, {download.verdict()}", took, wasted


def slow_last_peer(lab, kind):
    """24 MiB in pieces of 1 MiB from a peer at 6 MiB/s and one at 16 KiB/s."""
    torrent = payloads.make(lab.directory, "slow.bin", 24 * MIB, MIB)
    fast, slow = seeder(lab, torrent, 6 * MIB), seeder(lab, torrent, 16 * 1024)
    download = Download(lab, kind, torrent, [fast, slow])
    download.wait_for(1)
    took, said = download.complete(120)
    if took is None:
        return f"not complete after 120 s ({said or 'says nothing'})",
    return f"{{:.0f}} s, {download.verdict()}", took


SCENARIOS = (disk_full, kill_9, corrupt_peer, slow_last_peer)


def perform(scenario, kind, directory, peerless):
    """What happened, in words with `{}` for figures, and the figures."""
    lab = Lab(directory, peerless)
    try:
        outcome = scenario(lab, kind)
    except Exception as problem:
        outcome = (f"the run failed: {type(problem).__name__}: {str(problem).splitlines()[0]}",)
    problems = lab.close()
    shutil.rmtree(directory, ignore_errors=True)
    words, *figures = outcome
    return words.replace(f"{directory}/", "") + (f" (clean-up: {problems})" if problems else ""), figures


def cell(outcomes):
    """Runs that ended in the same way are one line, with the range of their figures."""
    alike = {}
    for words, figures in outcomes:
        alike.setdefault(words, []).append(figures)
    parts = []
    for words, runs in sorted(alike.items(), key=lambda item: -len(item[1])):
        shown = [figure[1:-1] for figure in FIGURE.findall(words)]
        texts = [
            sorted({format(value, form.lstrip(":")) for value in values}, key=float)
            for form, values in zip(shown, zip(*runs))
        ]
        words = FIGURE.sub("{}", words)
        text = words.format(*("–".join(dict.fromkeys((t[0], t[-1]))) for t in texts))
        parts.append(text if len(alike) == 1 else f"{len(runs)} of {len(outcomes)}: {text}")
    return "; ".join(parts)


def inside(options):
    netns.raise_loopback()
    clients = options.clients.split(",")
    print(f"| | {' | '.join(clients)} |\n|---|{'---|' * len(clients)}", flush=True)
    for scenario in SCENARIOS:
        name = scenario.__name__.replace("_", "-")
        if fnmatch.fnmatch(name, options.only):
            print(f"| {scenario.__doc__.rstrip('.')} ", end="", flush=True)
            for kind in clients:
                directory = options.inside / f"{name}.{kind}"
                runs = [
                    perform(scenario, kind, directory, options.peerless) for _ in range(options.runs)
                ]
                print(f"| {cell(runs)} ", end="", flush=True)
            print("|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peerless", type=Path, default=tools.PEERLESS, help="the binary to test")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="scenarios, as in a shell")
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--runs", type=int, default=3, help="of each scenario with each client")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    with tempfile.TemporaryDirectory(prefix="peerless-compare-") as directory:
        words = [sys.executable, __file__, *sys.argv[1:], "--inside", directory]
        return subprocess.run(netns.command(words)).returncode


if __name__ == "__main__":
    sys.exit(main())
