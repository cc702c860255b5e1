"""Cases: how they are declared, found, and run one at a time inside a worker's namespaces."""

import importlib
import json
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import netns
from lab import Lab

LOG_TAIL_BYTES = 1500
LOGS_SHOWN = 8

_cases = {}


@dataclass(frozen=True)
class Case:
    name: str
    body: Callable
    seconds: float  # deadline of the whole case: its worker is killed then
    control: bool  # about the bench, not about peerless: run on demand
    cost: float  # expected seconds; the costly go first, so that the workers end together


def case(name, *, seconds=60, cost=2, control=False):
    """Declare the decorated function as a case; it is called with a `Lab`."""

    def declare(body):
        assert name not in _cases, f"two cases named {name}"
        _cases[name] = Case(name, body, seconds, control, cost)
        return body

    return declare


def find():
    """Every case of the modules in `cases/`, in the order of declaration."""
    for module in sorted(Path(__file__).with_name("cases").glob("[a-z]*.py")):
        importlib.import_module(f"cases.{module.stem}")
    return dict(_cases)


def perform(case, directory, peerless):
    """Run one case; gives a plain dict for the parent."""
    lab = Lab(directory, peerless)
    start = time.monotonic()
    error = None
    try:
        case.body(lab)
    except Exception:
        error = traceback.format_exc(limit=-4)
    problems = lab.close()
    if problems and not error:
        error = f"clean-up: {problems}"
    seconds = time.monotonic() - start
    logs = []
    if error:
        logs = [(str(path.relative_to(directory)), _tail(path)) for path in lab.logs()[:LOGS_SHOWN]]
    return {"name": case.name, "seconds": seconds, "error": error, "logs": logs}


def _tail(path):
    data = path.read_bytes()
    cut = "…" if len(data) > LOG_TAIL_BYTES else ""
    return cut + data[-LOG_TAIL_BYTES:].decode(errors="replace")


def work(directory, peerless):
    """The worker: names of cases on stdin, results on stdout, until stdin ends."""
    netns.raise_loopback()
    results, sys.stdout = sys.stdout, sys.stderr
    cases = find()
    for line in sys.stdin:
        name = line.strip()
        result = perform(cases[name], directory / name.replace("/", "."), peerless)
        print(json.dumps(result), file=results, flush=True)
