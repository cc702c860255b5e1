"""Where the programs are that the suite runs; a missing one is a failure, never a reason to skip."""

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()

TOOLS = TARGET / "interop"
"""Where `.ci/setup` puts what Debian has no package of."""

PEERLESS = TARGET / "release/peerless"
ONE_SESSION = TARGET / "debug/examples/one_session"
DHT_CROWD = TARGET / "debug/examples/dht_crowd"
"""The library's examples, as `cargo test` leaves them."""
PYTHON_WITH_LIBTORRENT = TOOLS / "venv/bin/python"
DEBIAN_13 = TOOLS / "debian13"
"""Newer clients than the system's, with the libraries that they need."""
NODE_TRACKER = TOOLS / "npm/node_modules/bittorrent-tracker/server.js"


class Missing(AssertionError):
    """A program that the suite needs is not there."""


def program(name):
    """The path of an installed program."""
    # Debian keeps daemons in sbin, which is not on every PATH.
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise Missing(f"`{name}` is not installed; .ci/setup installs it")
    return found


def newer_program(name):
    """How to begin a program of Debian 13 on an older system: by its own loader, with its own libraries."""
    usr = DEBIAN_13 / "usr"
    loader = file(usr / "lib64/ld-linux-x86-64.so.2")
    return [loader, "--library-path", usr / "lib/x86_64-linux-gnu", file(usr / "bin" / name)]


def file(path):
    """A file that `.ci/setup` or the build makes."""
    if not Path(path).exists():
        raise Missing(f"{path} does not exist; .ci/setup or `cargo build --release` makes it")
    return path
