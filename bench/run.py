#!/usr/bin/env python3
"""Speed, CPU and memory of peerless beside its rivals, row by row (README.md says what each means).

    python3 bench/run.py                              # builds, runs every row, prints its tables
    python3 bench/run.py --rows download,seed         # some rows
    python3 bench/run.py --write                      # puts the tables into bench/README.md

Clients take turns (A B C A B C), since a machine's speed drifts: read ratios, not absolute figures.
A row in which a copy was not byte-identical, or a client failed, is not reported. Everything runs in
a network namespace of its own: needs Linux, and root or the right to make user namespaces.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests/interop"))

import netns  # noqa: E402
import surroundings  # noqa: E402
import table  # noqa: E402
import tools  # noqa: E402
from bench import Bench  # noqa: E402
from contenders import find  # noqa: E402
from processes import Failed  # noqa: E402
from rows import ROWS  # noqa: E402

README = ROOT / "bench/README.md"
MEMORY_FILE_SYSTEM = Path("/dev/shm")
ROOM_BYTES = 6 << 30  # two copies of the largest payload, and what four leechers leave
TOO_BUSY_CORES = 0.2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help=f"some of {', '.join(ROWS)}; default: all")
    parser.add_argument("--runs", type=int, default=3, help="runs of each client; medians are printed")
    parser.add_argument("--clients", help="only these, by the names in the tables, separated by /")
    parser.add_argument("--size", type=int, metavar="MIB", help="of every payload, to try things out")
    parser.add_argument("--torrents", type=int, metavar="N", help="of the row of idle ones, likewise")
    parser.add_argument("--scratch", type=Path, help="where files go; default: /dev/shm if it has room")
    parser.add_argument("--disk", type=Path, default=tools.TARGET,
                        help="where those of the rows named `-disk` go; default: %(default)s")
    parser.add_argument("--python", help="an interpreter that has libtorrent")
    parser.add_argument("--rqbit", help="its binary")
    parser.add_argument("--no-build", dest="build", action="store_false", help="take the binaries that are there")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def outside(options):
    """Builds, and starts this program again in namespaces of its own."""
    if options.build:
        build = ["cargo", "build", "--release", "--locked"]
        for what in (["-p", "peerless"], ["-p", "peerless-engine", "--examples"]):
            subprocess.run([*build, *what], cwd=ROOT, check=True)
    # Ended from outside, it still ends the clients and removes their files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    where = options.scratch
    if where is None and surroundings.free_bytes(MEMORY_FILE_SYSTEM) > ROOM_BYTES:
        where = MEMORY_FILE_SYSTEM
    prefix = "peerless-bench-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=where) as scratch,
        tempfile.TemporaryDirectory(prefix=prefix, dir=options.disk) as disk,
    ):
        words = [sys.executable, __file__, *sys.argv[1:], "--inside", "--scratch", scratch, "--disk", disk]
        return subprocess.run(netns.command(words)).returncode


def inside(options):
    # Of the new PID namespace, for the CPU of the processes in it; the mount namespace is new too.
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    netns.raise_loopback()
    found, missing = find(tools.file(tools.PEERLESS), options.python, options.rqbit)
    bench = Bench(options.scratch, found)
    names = options.rows.split(",") if options.rows else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    kernel = surroundings.hash_kernel(tools.PEERLESS)
    failed = []
    for name in names:
        bench.scratch = options.disk if ROWS[name].on_disk else options.scratch
        try:
            text = report(bench, name, ROWS[name], options, missing, kernel)
        except Failed as why:
            failed.append(name)
            print(f"\n## {name}: not reported\n{why}", flush=True)
            continue
        finally:
            bench.clean(bench.scratch / name)
        print(f"\n## {name}\n\n{text}", flush=True)
        if options.write:
            README.write_text(table.put(README.read_text(), name, text))
    return 1 if failed else 0


def report(bench, name, row, options, missing, kernel):
    wanted = options.clients.split("/") if options.clients else row.labels
    here = bench.contenders.keys() | (row.labels if row.parcels else ())
    labels = [label for label in row.labels if label in here and label in wanted]
    lacking = [needed for needed in row.needs if needed not in bench.contenders]
    if lacking:
        raise Failed(f"needs {', '.join(lacking)}, which is not here")
    if not labels:
        raise Failed(f"none of {', '.join(row.labels)} is here and asked for")
    payload = row.payload(bench.scratch / name, bench, options.size, options.torrents)
    samples = {label: [] for label in labels}
    for number in range(options.runs):
        for label in labels:
            figures = row.run(bench, payload, label)
            samples[label].append(figures)
            short = ", ".join(f"{key} {value:.3g}" for key, value in figures.items())
            print(f"{name} {number + 1}/{options.runs} {label}: {short}", file=sys.stderr, flush=True)
    medians = table.medians(samples)
    notes = [
        f"{payload}; medians of {options.runs} interleaved runs; "
        + surroundings.describe(bench.scratch, bench.contenders, [*labels, *row.needs])
        + f"; hashed by {kernel}."
    ]
    absent = [f"{label} ({missing.get(label, 'not asked for')})" for label in row.labels if label not in labels]
    if absent:
        notes.append(f"Left out: {', '.join(absent)}.")
    noisy = [label for label in labels if medians[label].get("others", 0) > TOO_BUSY_CORES]
    if noisy:
        notes.append(f"**Noisy**: other processes took more than {TOO_BUSY_CORES} cores beside {', '.join(noisy)}.")
    return "\n".join(notes) + "\n\n" + table.render(row.metrics, row.ratios, row.goals, medians, row.base)


def main():
    options = arguments()
    return inside(options) if options.inside else outside(options)


if __name__ == "__main__":
    sys.exit(main())
