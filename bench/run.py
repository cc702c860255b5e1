#!/usr/bin/env python3
"""Wall speed and CPU of get, seed and check over loopback TCP, with libtorrent in the same run.

    python3 bench/run.py [--size MIB] [--runs N] [--write]

Builds the release binary, makes a payload, and runs the combinations interleaved (A B C A B C), since
a machine's speed drifts: read the ratios, not the absolute figures. Every downloaded byte is compared
with the payload before a figure is reported. CPU is user + system time of the process that the row
names, from its start (a leecher's exit status, a seeder's /proc entry), per GiB of payload.
libtorrent takes part when it can be imported (`pip install libtorrent`); --python names the
interpreter that has it. --write puts the table into bench/README.md between its markers.
"""

import argparse
import datetime
import filecmp
import os
import pathlib
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "peerless"
RIVAL = ROOT / "bench" / "libtorrent_client.py"
TICK = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 60
RUN_SECONDS = 300


def main():
    args = parse_args()
    if args.build:
        subprocess.run(["cargo", "build", "--release", "--bin", "peerless"], cwd=ROOT, check=True)
    has_rival = subprocess.run([args.python, "-c", "import libtorrent"], capture_output=True).returncode == 0
    if not has_rival:
        print("libtorrent can't be imported: no rival in this run", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="peerless-bench-", dir=args.scratch) as scratch:
        table = measure(Bench(pathlib.Path(scratch), args), args.runs, has_rival)
    text = render(table, args, has_rival)
    print(text)
    if args.write:
        write_readme(text)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="payload in MiB (default 1024)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each row; medians are printed")
    parser.add_argument("--scratch", default=None, help="where to put files (default: the system's)")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has libtorrent")
    parser.add_argument("--no-build", dest="build", action="store_false")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    return parser.parse_args()


class Bench:
    """One payload, and the commands that move it."""

    def __init__(self, scratch, args):
        self.scratch, self.python, self.mib = scratch, args.python, args.size
        self.payload = scratch / "data" / "payload.bin"
        self.payload.parent.mkdir()
        with open(self.payload, "wb") as file:
            for _ in range(args.size):
                file.write(os.urandom(1 << 20))
        self.torrent = scratch / "payload.torrent"
        subprocess.run([BINARY, "create", self.payload, "-o", self.torrent, "--piece-length", "1M"],
                       check=True, stdout=subprocess.DEVNULL)

    def environment(self, role):
        return os.environ | {"XDG_STATE_HOME": str(self.scratch / f"state-{role}")}

    def seeder(self, client, port):
        if client == "peerless":
            command = [BINARY, "seed", self.torrent, self.payload.parent, "--port", str(port),
                       "--bind", "127.0.0.1", "--no-tracker", "--json"]
        else:
            command = [self.python, RIVAL, "seed", self.torrent, self.payload.parent, str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=self.environment("seed"))
        process.stdout.readline()  # the first line says that it is up
        wait_for_port(port)
        wait_until_idle(process.pid)
        return process

    def transfer(self, seeder, leecher):
        port, out = free_port(), self.scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(self.scratch / "state-get", ignore_errors=True)
        out.mkdir()
        serving = self.seeder(seeder, port)
        try:
            before = cpu_of(serving.pid)
            if leecher == "peerless":
                command = [BINARY, "get", self.torrent, "-o", out, "--bind", "127.0.0.1", "--no-tracker",
                           "--peer", f"127.0.0.1:{port}", "--quiet"]
            else:
                command = [self.python, RIVAL, "leech", self.torrent, out, str(free_port()), f"127.0.0.1:{port}"]
            wall, cpu = timed(command, self.environment("get"))
            seed_cpu = [after - then for after, then in zip(cpu_of(serving.pid), before)]
        finally:
            serving.kill()
            serving.wait()
        if not filecmp.cmp(self.payload, out / "payload.bin", shallow=False):
            sys.exit(f"{seeder} -> {leecher}: the copy differs from the payload; nothing is reported")
        return [(f"get: {leecher} from {seeder}", wall, cpu), (f"seed: {seeder} to {leecher}", wall, seed_cpu)]

    def check(self):
        command = [BINARY, "check", self.torrent, self.payload.parent, "--quiet"]
        wall, cpu = timed(command, self.environment("check"))
        return [("check: peerless", wall, cpu)]


def measure(bench, runs, has_rival):
    pairs = [("peerless", "peerless")]
    if has_rival:
        pairs += [("libtorrent", "peerless"), ("peerless", "libtorrent"), ("libtorrent", "libtorrent")]
    rows = {}
    for run in range(runs):
        for row in [row for pair in pairs for row in bench.transfer(*pair)] + bench.check():
            rows.setdefault(row[0], []).append(row[1:])
        print(f"run {run + 1} of {runs} done", file=sys.stderr)
    gib = bench.mib / 1024
    table = []
    for name, figures in rows.items():
        wall = statistics.median(wall for wall, _ in figures)
        user = statistics.median(cpu[0] for _, cpu in figures) / gib
        system = statistics.median(cpu[1] for _, cpu in figures) / gib
        table.append((name, bench.mib / wall, user, system))
    return table


def render(table, args, has_rival):
    lines = [
        f"{datetime.date.today()}, {args.size} MiB, 1 MiB pieces, medians of {args.runs} interleaved runs; "
        f"{os.cpu_count()} cores ({cpu_model()}), Linux {platform.release()}, files on {file_system(args.scratch)}; "
        f"{version([BINARY, '--version'])}" + has_rival * f", libtorrent {rival_version(args.python)}",
        "",
        "| row | MiB/s | CPU-s/GiB | user | sys |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {name} | {speed:.0f} | {user + system:.2f} | {user:.2f} | {system:.2f} |"
              for name, speed, user, system in table]
    return "\n".join(lines)


def write_readme(text):
    path = ROOT / "bench" / "README.md"
    begin, end = "<!-- table -->", "<!-- /table -->"
    head, _, rest = path.read_text().partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def timed(command, environment):
    """Wall seconds and (user, system) CPU seconds of a command that must succeed."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    deadline = start + RUN_SECONDS
    pid, status, usage = 0, 0, None
    while pid == 0:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() > deadline:
                process.kill()
                sys.exit(f"{command[0]} {command[1]} took more than {RUN_SECONDS} s")
            time.sleep(0.002)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return wall, (usage.ru_utime, usage.ru_stime)


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def wait_for_port(port):
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"no seeder on port {port} within {READY_SECONDS} s")
            time.sleep(0.02)


def wait_until_idle(pid):
    """The seeder's own check must not count as seeding: wait until its CPU stands still."""
    deadline, still, last = time.monotonic() + READY_SECONDS, 0, None
    while still < 3 and time.monotonic() < deadline:
        now = cpu_of(pid)
        still = still + 1 if now == last else 0
        last = now
        time.sleep(0.1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def version(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def rival_version(python):
    return version([python, "-c", "import libtorrent; print(libtorrent.__version__)"])


def file_system(scratch):
    return version(["stat", "--file-system", "--format", "%T", scratch or tempfile.gettempdir()])


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


main()
