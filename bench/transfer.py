"""One transfer over loopback between fresh processes, with every byte compared at its end."""

import socket
from dataclasses import dataclass

import netns
from contenders import Job
from payload import GIB, MIB
from processes import READY_SECONDS, Failed, Running, finish, machine_busy
from surroundings import touch_memory

RUN_SECONDS = 120
SPARE_MIB = 512
"""Of memory that clients take, beyond what holds the files."""


@dataclass
class _Known:
    """A seeder, as the tracker wants to hear of it."""

    endpoint: str

    def serving(self, _torrent):
        return self.endpoint


def transfer(bench, payload, seeder, leecher, *, seeders=1, leechers=1, tracked=False, linked=False):
    """Figures of both sides; wall time is from the start of the leechers to the end of the last."""
    folder, serving = bench.folder(), []
    try:
        for number in range(seeders):
            serving.append(_seeder(bench, payload, bench.contenders[seeder], folder / f"seed-{number}"))
        endpoints = [job.endpoint for job, _ in serving]
        bench.tracker.introduce([payload], [_Known(endpoint) for endpoint in endpoints])
        processes = [process for _, process in serving]
        jobs = [
            Job(payload, folder / f"out-{number}", folder / f"get-{number}", bench.ip(), bench.port(),
                tuple(endpoints), tracked, linked)
            for number in range(leechers)
        ]
        return measure(bench.contenders[leecher], jobs, processes, payload)
    finally:
        for _, process in serving:
            process.stop()
        bench.tracker.forget([payload])


def _seeder(bench, payload, contender, home):
    job = Job(payload, payload.data, home, bench.ip(), bench.port())
    process = Running(contender.seed(job), home, contender.environment)
    process.until(lambda: listens(job.endpoint), READY_SECONDS, "to listen")
    process.until_idle()
    return job, process


def measure(contender, jobs, serving, payload):
    for job in jobs:
        job.directory.mkdir()
    commands = [contender.leech(job) for job in jobs]
    touch_memory(int(payload.gib * len(jobs) * GIB / MIB) + SPARE_MIB)
    busy, before = machine_busy(), _sum(serving)
    getting = []
    try:
        for command, job in zip(commands, jobs):
            getting.append(Running(command, job.home, contender.environment))
        finish(getting, RUN_SECONDS)
        seed = [after - then for after, then in zip(_sum(serving), before)]
        busy = machine_busy() - busy
    finally:
        for each in getting:
            each.stop()
    for job in jobs:
        difference = payload.difference(job.directory)
        if difference:
            raise Failed(f"{contender.name}: the copy is not the payload: {difference}")
    wall = max(each.end for each in getting) - min(each.start for each in getting)
    get = _sum(getting)
    gib = payload.gib * len(jobs)
    return {
        "wall": wall, "speed": gib * GIB / MIB / wall,
        "user": get[0] / gib, "system": get[1] / gib, "cpu": sum(get) / gib, "cpu_seconds": sum(get),
        "seed_user": seed[0] / gib, "seed_system": seed[1] / gib, "seed_cpu": sum(seed) / gib,
        "others": max(busy - sum(get) - sum(seed), 0) / wall,
        **_memory(getting[0].samples),
    }


def _memory(samples):
    """Peaks in MiB, and the second half's peak by the first's: 1 is flat."""
    if len(samples) < 4:
        return {}
    anonymous, _, peak = ([sample[i] / 1024 for sample in samples] for i in range(3))
    # The first tenth is the start of the process, not a running download.
    steady = anonymous[len(anonymous) // 10 :]
    half = len(steady) // 2
    return {"anon": max(anonymous), "rss": max(peak), "growth": max(steady[half:]) / max(steady[:half])}


def _sum(processes):
    return [sum(part) for part in zip(*(process.cpu() for process in processes))]


def listens(endpoint):
    try:
        socket.create_connection(netns.split(endpoint), timeout=1).close()
    except OSError:
        return False
    return True
