#!/usr/bin/env python3
"""Breaks what must never break, one line at a time, and sees that a named test notices.

    tests/mutations/run.py                    # all of them
    tests/mutations/run.py --only 'private/*' # some
    tests/mutations/run.py --list
    tests/mutations/run.py --check            # only that each still fits the code; builds nothing

The tree is copied to `mutations` in the target folder; nothing here is touched. For each mutation only
the test that it names is run. `crates/` has them all, by the crate that is broken. The last line is the
count; the exit code is 0 when every mutation was killed.
"""

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mutation as table

ROOT = Path(__file__).resolve().parents[2]
TEST_SECONDS = 300
"""A mutated test that hangs has noticed too, but no test should need this long to fail."""

RAN = re.compile(r"^test result: (ok|FAILED)\. (\d+) passed; (\d+) failed;", re.M)


class Wrong(Exception):
    """The mutation itself is at fault: it must be brought up to date."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names, as in a shell")
    parser.add_argument("--list", action="store_true", help="name them and end")
    parser.add_argument("--check", action="store_true", help="see that each fits the code, and end")
    parser.add_argument("--offline", action="store_true", help="let cargo use no network")
    arguments = parser.parse_args()
    chosen = [m for m in table.find() if fnmatch.fnmatch(m.name, arguments.only)]
    if arguments.list:
        for mutation in chosen:
            print(f"{mutation.name:42} {mutation.package}: {mutation.test}")
        return 0
    if arguments.check:
        unfit = [f"{m.name}: {words}" for m in chosen for words in unfitness(m)]
        print("\n".join(unfit or [f"{len(chosen)} mutations fit the code"]))
        return int(bool(unfit))
    if not chosen:
        print(f"no mutation is named {arguments.only}", file=sys.stderr)
        return 2
    # Always the same place: what was built for it before is used again.
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
    tree = target / "mutations"
    copy_tree(tree)
    cargo = Cargo(tree, target, arguments.offline)
    counts = {"killed": 0, "SURVIVED": 0, "WRONG": 0}
    for mutation in chosen:
        start = time.monotonic()
        try:
            outcome, words = attempt(tree, cargo, mutation), ""
        except Wrong as wrong:
            outcome, words = "WRONG", f" ({wrong})"
        counts[outcome] += 1
        seconds = time.monotonic() - start
        print(f"{outcome:8} {mutation.name} by {mutation.test}{words} {seconds:.0f} s", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0 if counts["killed"] == len(chosen) else 1


def copy_tree(target):
    """Copy what is not ignored, changes that are not committed included."""
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def unfitness(mutation):
    """What must be brought up to date before it can run."""
    found = (ROOT / mutation.file).read_text().count(mutation.old)
    if found != 1:
        yield f"the text to change is {found} times in {mutation.file}"
    crate = ROOT / "crates" / (mutation.package.removeprefix("peerless").lstrip("-") or "cli")
    test = f"fn {mutation.test.rsplit('::')[-1]}("
    if not any(test in path.read_text() for path in crate.rglob("*.rs")):
        yield f"there is no test {mutation.test}"


def attempt(tree, cargo, mutation):
    """`killed` or `SURVIVED`."""
    for words in unfitness(mutation):
        raise Wrong(words)
    path = tree / mutation.file
    sound = path.read_text()
    if not cargo.passes_unchanged(mutation):
        raise Wrong("its test fails without it")
    try:
        path.write_text(sound.replace(mutation.old, mutation.new))
        passed = cargo.test(mutation.package, mutation.target, mutation.test)
        return "SURVIVED" if passed else "killed"
    finally:
        path.write_text(sound)


class Cargo:
    def __init__(self, tree, target, offline):
        self.tree = tree
        self.command = [os.environ.get("CARGO", "cargo"), "test", "--locked"]
        self.command += ["--offline"] if offline else []
        self.environment = {
            **os.environ,
            "CARGO_TARGET_DIR": str(target),
            "CARGO_INCREMENTAL": "1",  # each mutation changes one line of one crate
        }
        self.sound = {}

    def passes_unchanged(self, mutation):
        """Asked once for each test."""
        key = (mutation.package, mutation.target, mutation.test)
        if key not in self.sound:
            self.sound[key] = self.test(*key)
        return self.sound[key]

    def test(self, package, target, test):
        build = [*self.command, "-p", package, *target]
        built = self.run([*build, "--no-run"])
        if built.returncode:
            raise Wrong("it does not compile:\n" + built.stderr[-2000:])
        ran = self.run([*build, "--", "--exact", test], seconds=TEST_SECONDS)
        if ran is None:
            return False
        result = RAN.search(ran.stdout)
        if not result:
            return False  # the whole process went down
        _, passed, failed = result.groups()
        if int(passed) + int(failed) != 1:
            raise Wrong(f"there is no test {test}")
        return ran.returncode == 0

    def run(self, command, seconds=None):
        """`None` when it took too long."""
        try:
            return subprocess.run(
                command, cwd=self.tree, env=self.environment, timeout=seconds,
                capture_output=True, text=True,
            )
        except subprocess.TimeoutExpired:
            return None


if __name__ == "__main__":
    sys.exit(main())
