#!/usr/bin/env python3
"""How many lines of the pure crates their own tests run through.

    tests/coverage/run.py                 # a line for each crate; fails below 90 %
    tests/coverage/run.py --missed swarm  # and the lines of one that no test came through

Tests of other crates do not count, nor do lines of tests. Dependencies are taken as they were built
for `cargo test`; only the crates themselves are compiled once more.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import llvm_profile as profile

ROOT = Path(__file__).resolve().parents[2]
CRATES = ("metainfo", "digest", "wire", "tracker", "dht", "dns", "utp", "portmap", "webseed", "swarm")
PERCENT_MIN = 90
NOT_JUDGED = ("digest",)
"""Which of its kernels can run depends on the processor."""

TEST_FILE = re.compile(r"(^|/)(tests|any_course|costs)(\.rs|/)")
TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\n(?:#\[.*\]\n)*mod \w+ \{\n.*?^\}\n", re.M | re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missed", metavar="CRATE", choices=CRATES, action="append", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    low = False
    for crate in CRATES:
        files = {file: lines for file, lines in found.items() if file.parts[1] == crate}
        covered = sum(count > 0 for lines in files.values() for count in lines.values())
        lines = sum(map(len, files.values()))
        percent = 100 * covered / max(lines, 1)
        low |= percent < PERCENT_MIN and crate not in NOT_JUDGED
        print(f"{crate:9} {percent:5.1f} %  {covered} of {lines} lines")
        if crate in arguments.missed:
            for file, lines in sorted(files.items()):
                missed = [line for line, count in sorted(lines.items()) if not count]
                if missed:
                    print(f"  {file}: {ranges(missed)}")
    return int(low)


def measure(folder):
    """Counts by line, by file."""
    environment = {
        **os.environ,
        "RUSTC_WORKSPACE_WRAPPER": str(Path(__file__).with_name("rustc").resolve()),
        "LLVM_PROFILE_FILE": str(folder / "elsewhere-%p.profraw"),
    }
    packages = [word for crate in CRATES for word in ("-p", f"peerless-{crate}")]
    command = [os.environ.get("CARGO", "cargo"), "test", "--locked", "--lib", "--tests"]
    command += [*packages, "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit(built.returncode)
    messages = map(json.loads, built.stdout.splitlines())
    programs = {(m["executable"], m["package_id"]) for m in messages if m.get("executable")}
    regions = defaultdict(lambda: defaultdict(int))
    for number, (program, package) in enumerate(sorted(programs)):
        raw = folder / f"{number}.profraw"
        crate = next(crate for crate in CRATES if f"/{crate}#" in package)
        ran = subprocess.run(
            [program, "--quiet"], cwd=ROOT / "crates" / crate, stdout=subprocess.PIPE,
            env={**environment, "LLVM_PROFILE_FILE": str(raw)},
        )
        if ran.returncode:
            sys.exit(f"{program} failed:\n{ran.stdout.decode(errors='replace')[-3000:]}")
        counted = profile.counts(raw.read_bytes())
        raw.unlink()
        for name, region, count in profile.regions(Path(program).read_bytes(), counted):
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
