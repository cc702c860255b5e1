#!/usr/bin/env python3
"""How many lines of the pure crates their own tests run through.

    tests/coverage/run.py                 # a line for each crate; fails below 90 %
    tests/coverage/run.py --missed swarm  # and the lines of one that no test came through

It runs the tests of the pure crates. `.ci/run` has them run already, and lets that run be counted:

    env $(tests/coverage/run.py --prepare FOLDER) cargo test --workspace
    tests/coverage/run.py --of FOLDER

Tests of other crates do not count, nor do lines of tests. Dependencies are taken as they were built
for `cargo test`; only the crates of the workspace are compiled anew, the pure ones with counters.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import llvm_profile as profile

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CRATES = ("metainfo", "digest", "wire", "tracker", "dht", "dns", "utp", "portmap", "webseed", "swarm")
PERCENT_MIN = 90
NOT_JUDGED = ("digest",)
"""Which of its kernels can run depends on the processor."""

TEST_FILE = re.compile(r"(^|/)(tests|any_course|costs)(\.rs|/)")
TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\n(?:#\[.*\]\n)*mod \w+ \{\n.*?^\}\n", re.M | re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missed", metavar="CRATE", choices=CRATES, action="append", default=[])
    parser.add_argument("--prepare", metavar="FOLDER", type=Path,
                        help="print what `cargo test` needs in its environment to leave its counts there")
    parser.add_argument("--of", metavar="FOLDER", type=Path, help="judge a run that left its counts there")
    arguments = parser.parse_args()
    if arguments.prepare:
        print("\n".join(f"{name}={value}" for name, value in prepare(arguments.prepare).items()))
        return 0
    if arguments.of:
        return judge(arguments.of, arguments.missed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages = [word for crate in CRATES for word in ("-p", f"peerless-{crate}")]
        ran = subprocess.run(
            [os.environ.get("CARGO", "cargo"), "test", "--locked", "--quiet", "--lib", "--tests", *packages],
            cwd=ROOT, env={**os.environ, **prepare(folder)},
        )
        return ran.returncode or judge(folder, arguments.missed)


def prepare(folder):
    """A folder for each crate, and what makes `cargo test` fill them."""
    for crate in CRATES:
        (folder / crate).mkdir(parents=True, exist_ok=True)
    about = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    host = re.search(r"^host: (.*)$", about, re.M).group(1).upper().replace("-", "_")
    return {
        "COVERAGE_FOLDER": folder.resolve(),
        "RUSTC_WORKSPACE_WRAPPER": HERE / "rustc",
        f"CARGO_TARGET_{host}_RUNNER": HERE / "runner",
    }


def judge(folder, show_missed):
    """The exit code: whether any crate is below what is asked of it."""
    low = False
    for crate in CRATES:
        files = measure(crate, folder / crate)
        covered = sum(count > 0 for lines in files.values() for count in lines.values())
        lines = sum(map(len, files.values()))
        percent = 100 * covered / max(lines, 1)
        low |= percent < PERCENT_MIN and crate not in NOT_JUDGED
        print(f"{crate:9} {percent:5.1f} %  {covered} of {lines} lines", flush=True)
        if crate in show_missed:
            for file, lines in sorted(files.items()):
                missed = [line for line, count in sorted(lines.items()) if not count]
                if missed:
                    print(f"  {file}: {ranges(missed)}")
    return int(low)


def measure(crate, folder):
    """Counts by line, by file of the crate."""
    regions = defaultdict(lambda: defaultdict(int))
    for program in filter(Path.is_symlink, sorted(folder.iterdir())):
        counted = profile.counts(Path(f"{program}.profraw").read_bytes())
        for name, region, count in profile.regions(program.read_bytes(), counted):
            file = source(name)
            if file and file.parts[1] == crate:
                regions[file][region] += count
    return {file: by_line(file, found) for file, found in regions.items()}


def source(name):
    """A file of a pure crate that is no test, relative to the tree."""
    try:
        file = (ROOT / name).resolve().relative_to(ROOT)
    except ValueError:
        return None
    of_crate = len(file.parts) > 3 and file.parts[0] == "crates" and file.parts[1] in CRATES
    is_source = of_crate and file.parts[2] == "src" and not TEST_FILE.search(str(file))
    return file if is_source else None


def by_line(file, regions):
    """The count of each line that has code: of the regions that begin in it the largest, otherwise
    of the innermost one around it."""
    lines = {}
    for region in sorted(regions, key=lambda region: (region[0], region[1], -region[2], -region[3])):
        first, _, last, _ = region
        count = regions[region]
        lines[first] = max(lines.get(first, 0), count)
        lines.update(dict.fromkeys(range(first + 1, last + 1), count))
    text = (ROOT / file).read_text()
    for module in TEST_MODULE.finditer(text):
        first = text.count("\n", 0, module.start()) + 1
        for line in range(first, first + module.group().count("\n")):
            lines.pop(line, None)
    return lines


def ranges(lines):
    parts = []
    for line in lines:
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in parts)


if __name__ == "__main__":
    sys.exit(main())
