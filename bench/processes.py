"""Processes under measurement: when they ended, what CPU and memory they took, and what else ran."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import deadline
import process

TICK = os.sysconf("SC_CLK_TCK")
GRACE_SECONDS = 5
SAMPLE_SECONDS = 0.05
QUIET_SECONDS = 0.5  # a server that took almost no CPU for so long has checked its files
QUIET_CORES = 0.1
READY_SECONDS = 90


class Failed(Exception):
    """A client did not do what the row needs. The row is not reported."""


class Running:
    """A started client. Its output is kept in a file, for when it fails."""

    def __init__(self, argv, home, environment=()):
        self.argv = [str(word) for word in argv]
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "output.log"
        with self.log.open("wb") as output:
            self.start = time.monotonic()
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, cwd=home,
                env=process.environment(home) | dict(environment),
            )
        self.pid = self.child.pid
        self.end = self.code = self.usage = None
        self.samples = []  # of (anonymous KiB, resident KiB, peak resident KiB)

    def reap(self):
        """Whether it has ended; then `end` and `usage` are known."""
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.end, self.usage = time.monotonic(), usage
                self.code = self.child.returncode = os.waitstatus_to_exitcode(status)
                self.child.stdin.close()
        return self.code is not None

    def cpu(self):
        """User and system seconds so far, of its children too."""
        if self.usage:
            return self.usage.ru_utime, self.usage.ru_stime
        user = system = 0
        for pid in _family(self.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended; its parent has its time
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
        return user / TICK, system / TICK

    def memory(self):
        """Anonymous, resident and peak resident KiB; nothing when it has just ended."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return None
        found = dict(line.split(":", 1) for line in lines)
        if "VmRSS" not in found:
            return None
        return tuple(int(found[key].split()[0]) for key in ("RssAnon", "VmRSS", "VmHWM"))

    def fail(self, why):
        tail = self.log.read_text(errors="replace")[-1500:]
        raise Failed(f"{' '.join(self.argv)}: {why}\n{tail}")

    def until(self, predicate, seconds, what):
        """Waits for a predicate, and fails at once when the process ends."""

        def holds():
            return predicate() or (self.reap() and self.fail(f"ended with {self.code}"))

        try:
            return deadline.until(holds, seconds, what)
        except deadline.TooLate as late:
            self.fail(late)

    def until_idle(self):
        """Until it takes no CPU: what it does on its own before it serves is over."""
        history = [(time.monotonic(), sum(self.cpu()))]

        def idle():
            now = time.monotonic(), sum(self.cpu())
            if now[0] - history[0][0] < QUIET_SECONDS:
                return False
            busy = now[1] - history[0][1] > QUIET_CORES * QUIET_SECONDS
            history[:] = [now]
            return not busy

        self.until(idle, READY_SECONDS, "to become idle")

    def stop(self, number=signal.SIGTERM, grace=GRACE_SECONDS):
        if self.reap():
            return
        self.child.send_signal(number)
        try:
            deadline.until(self.reap, grace, "to end")
        except deadline.TooLate:
            self.child.kill()
            deadline.until(self.reap, grace, "to end after a kill")


def finish(running, seconds):
    """Waits until all have ended well, and samples their memory meanwhile."""
    poll, left = select.poll(), {}
    for each in running:
        descriptor = os.pidfd_open(each.pid)
        left[descriptor] = each
        poll.register(descriptor, select.POLLIN)
    end = time.monotonic() + seconds
    try:
        while left:
            ready = poll.poll(SAMPLE_SECONDS * 1000)
            for descriptor, _ in ready:
                each = left.pop(descriptor)
                poll.unregister(descriptor)
                os.close(descriptor)
                if each.reap() and each.code != 0:
                    each.fail(f"ended with {each.code}")
            for each in left.values():
                each.samples += [sample for sample in [each.memory()] if sample]
            if left and time.monotonic() > end:
                next(iter(left.values())).fail(f"not done after {seconds} s")
    finally:
        for descriptor in left:
            os.close(descriptor)


def machine_busy():
    """CPU seconds that the whole machine has spent so far."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, soft_irq, stolen = map(int, fields)
    return (user + nice + system + irq + soft_irq + stolen) / TICK


def _family(pid):
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _family(int(child))
