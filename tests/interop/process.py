"""Child processes: a log each, a deadline each, and ended by their own pid."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from deadline import TooLate, until

GRACE_SECONDS = 3
"""How long a process may take to end after it was asked to."""


def environment(home):
    """A clean environment whose every state directory lies below `home`."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ")}
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        # Nobody is asked whom a case did not name.
        "PEERLESS_NO_DHT": "1",
        "PEERLESS_NO_PORT_MAPPING": "1",
        # Whatever a crash has to say belongs in the log of the case.
        "RUST_BACKTRACE": "1",
    }


@dataclass
class Finished:
    """What a command that ended by itself left."""

    argv: list
    code: int
    out: str
    err: str
    seconds: float

    def __str__(self):
        return (
            f"$ {' '.join(map(str, self.argv))}\n"
            f"exit {self.code} after {self.seconds:.2f} s\n{self.out[-2000:]}{self.err[-4000:]}"
        )


def run(argv, home, seconds, stdin=""):
    """Run a command to its end, within `seconds`."""
    argv = [str(word) for word in argv]
    home.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home),
        cwd=home,
        text=True,
        errors="replace",
    )
    try:
        out, err = child.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise TooLate(
            f"still running after {seconds:g} s: {' '.join(argv)}\n{out[-2000:]}{err[-4000:]}"
        ) from None
    return Finished(argv, child.returncode, out, err, time.monotonic() - start)


class Process:
    """A long-running child. Its output goes to a file that a failed case shows."""

    def __init__(self, argv, home, label, *, pipes=False, log=None):
        """`pipes`: keep stdin and stdout to talk to it; only stderr is logged then."""
        self.argv = [str(word) for word in argv]
        home.mkdir(parents=True, exist_ok=True)
        self.log = Path(log or home / f"{label}.log")
        self.label = label
        with self.log.open("ab") as sink:
            sink.write(f"$ {' '.join(self.argv)}\n".encode())
            sink.flush()
            self.child = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else sink,
                stderr=sink,
                env=environment(home),
                cwd=home,
                text=pipes or None,
            )

    @property
    def pid(self):
        return self.child.pid

    @property
    def running(self):
        return self.child.poll() is None

    def wait(self, seconds):
        """Wait for the end; gives the exit code (negative: ended by that signal)."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TooLate(f"{self.label} still running after {seconds:g} s") from None

    def check_running(self):
        """Fail now rather than at a deadline when the process has ended."""
        if not self.running:
            raise AssertionError(f"{self.label} ended with exit code {self.child.returncode}")
        return True

    def send(self, number):
        if self.running:
            self.child.send_signal(number)

    def kill(self):
        """End it at once, as a power cut would."""
        self.send(signal.SIGKILL)
        return self.child.wait()

    def stop(self, number=signal.SIGTERM, grace=GRACE_SECONDS):
        """Ask it to end, insist after `grace` seconds; gives the exit code."""
        self.send(number)
        return self.ended(grace)

    def ended(self, grace=GRACE_SECONDS):
        """Wait for the end that was asked for, insist after `grace` seconds; gives the exit code."""
        try:
            return self.child.wait(grace)
        except subprocess.TimeoutExpired:
            return self.kill()

    def wait_for_log(self, text, seconds):
        """Wait until `text` stands in the log."""

        def seen():
            return text in self.log.read_text(errors="replace") or not self.check_running()

        return until(seen, seconds, f"{self.label} to log {text!r}")
