#!/usr/bin/env python3
"""Runs `peerless` against BitTorrent clients and trackers that others wrote.

Each worker is this program again inside namespaces of its own (see netns.py), so no packet leaves
the machine and nothing survives the run. One line a case; the last line is the count.
"""

import argparse
import fnmatch
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import netns
import runner
import tools

WORKERS = 6
START_SECONDS = 30


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peerless", type=Path, default=tools.PEERLESS, help="the binary to test")
    parser.add_argument("--only", metavar="PATTERN", help="cases whose name matches (shell pattern)")
    parser.add_argument("--keep", action="store_true", help="keep the directories of the cases")
    parser.add_argument("--jobs", type=int, default=WORKERS, help="cases at the same time")
    parser.add_argument("--controls", action="store_true", help="foreign clients among themselves")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class Worker:
    """One worker process; replaced when a case outlives its deadline."""

    def __init__(self, options, directory):
        words = [sys.executable, __file__, "--worker", directory, "--peerless", options.peerless]
        self.child = subprocess.Popen(
            netns.command([str(word) for word in words]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def perform(self, case):
        start = time.monotonic()
        guard = threading.Timer(case.seconds, self.kill)
        guard.start()
        try:
            self.child.stdin.write(case.name + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            guard.cancel()
        if line:
            return json.loads(line)
        seconds = time.monotonic() - start
        late = seconds >= case.seconds
        error = f"killed at its deadline of {case.seconds} s" if late else "the worker died"
        return {"name": case.name, "seconds": seconds, "error": error, "logs": []}

    def kill(self):
        """Killing the namespace's first process ends every process inside."""
        self.child.kill()
        self.child.wait()


class Suite:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def report(self, result):
        with self.lock:
            ok = not result["error"]
            self.passed += ok
            self.failed += not ok
            print(f"{'ok  ' if ok else 'FAIL'} {result['seconds']:6.1f} s  {result['name']}", flush=True)
            if not ok:
                _show(result, self.directory / result["name"].replace("/", "."))

    def serve(self, waiting):
        """One worker's life: cases off the queue until it is empty."""
        worker = Worker(self.options, self.directory)
        while True:
            try:
                case = waiting.get_nowait()
            except queue.Empty:
                break
            result = worker.perform(case)
            self.report(result)
            if worker.child.poll() is not None:
                worker = Worker(self.options, self.directory)
            if not (self.options.keep or result["error"]):
                shutil.rmtree(self.directory / case.name.replace("/", "."), ignore_errors=True)
        worker.kill()

    def run(self, cases):
        waiting = queue.Queue()
        for case in sorted(cases, key=lambda case: -case.cost):
            waiting.put(case)
        threads = [
            threading.Thread(target=self.serve, args=(waiting,))
            for _ in range(min(self.options.jobs, len(cases)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _show(result, directory):
    print(_indented(result["error"].rstrip()))
    logs = result["logs"] or [
        (path.name, path.read_text(errors="replace")[-runner.LOG_TAIL_BYTES :])
        for path in sorted(directory.rglob("*.log"))[: runner.LOGS_SHOWN]
    ]
    for name, tail in logs:
        print(_indented(f"--- {name}\n{tail.rstrip()}"))
    sys.stdout.flush()


def _indented(text):
    return "\n".join(f"     | {line}" for line in text.splitlines())


def main():
    options = arguments()
    options.peerless = options.peerless.resolve()
    if options.worker:
        runner.work(options.worker, options.peerless)
        return 0
    cases = [
        case
        for case in runner.find().values()
        if case.control == options.controls
        and (not options.only or fnmatch.fnmatch(case.name, options.only))
    ]
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        sys.exit(f"no case matches {options.only!r}")
    start = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="peerless-interop-"))
    # Trackers drop their rights and still have to read their configuration.
    os.chmod(directory, 0o755)
    suite = Suite(options, directory)
    try:
        suite.run(cases)
    finally:
        if options.keep:
            print(f"kept {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{len(cases)} cases in {time.monotonic() - start:.0f} s")
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())
