"""One mutation: what is broken, and who must notice. `crates/` has all of them, a file for each crate that
something is broken in."""

import importlib
from dataclasses import dataclass
from pathlib import Path

LIB = ("--lib",)
FOLDER = Path(__file__).with_name("crates")


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str  # is in the file exactly once
    new: str
    package: str  # whose test it is; that may be a crate above the broken one
    test: str
    target: tuple = LIB


def find():
    """All of them, by crate."""
    found = {}
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        for mutation in importlib.import_module(f"crates.{path.stem}").MUTATIONS:
            assert mutation.file.startswith(f"crates/{path.stem}/"), f"{mutation.name} is in the wrong file"
            assert mutation.name not in found, f"two mutations named {mutation.name}"
            found[mutation.name] = mutation
    return list(found.values())
