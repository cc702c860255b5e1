"""What a connection costs: the same download over many connections and over few, all saturated."""

import subprocess
import sys
from pathlib import Path

import netns
from payload import GIB, MIB, Payload
from processes import Failed, Running, finish, machine_busy

CROWD = Path(__file__).with_name("crowd.py")
TORRENTS = 8  # peerless lets a torrent have 200 connections and all of them together 1,000
RUN_SECONDS = 100


class Parcels:
    """A payload in several torrents, for one process to fetch at the same time."""

    def __init__(self, home, peerless, *, mib, tracker):
        subprocess.run(["ip", "route", "replace", "local", "10.78.0.0/16", "dev", "lo"], check=True)
        self.parts = []
        for number in range(TORRENTS):
            folder = home / str(number)
            folder.mkdir()
            part = Payload(folder, peerless, mib=mib // TORRENTS, piece="1M", tracker=tracker,
                           name=f"payload-{number}")
            self.parts.append(part)
        self.size = sum(part.size for part in self.parts)

    def __str__(self):
        return f"{self.size // MIB} MiB in {TORRENTS} torrents, pieces of 1M"


def connections(bench, parcels, label):
    """Figures of a peerless downloader that `label` connections serve."""
    folder, contender = bench.folder(), bench.contenders["peerless"]
    out, home = folder / "out", folder / "get"
    out.mkdir()
    ip, port = bench.ip(), bench.port()
    command = [contender.program, "get", *(part.torrent for part in parcels.parts), "-o", out, "--quiet",
               "--no-tracker", "--no-dht", "--bind", ip, "--port", port, "--state-dir", home / "state"]
    pairs = [f"{part.torrent}={part.source}" for part in parcels.parts]
    each = int(label.split()[0].replace(",", "")) // TORRENTS
    busy, getting, crowd = machine_busy(), None, None
    try:
        getting = Running(command, home)
        crowd = Running([sys.executable, CROWD, netns.at(ip, port), each, *pairs], folder / "crowd")
        finish([getting], RUN_SECONDS)
        busy = machine_busy() - busy
        served = sum(crowd.cpu())
    except Failed as why:
        crowd.reap()
        raise Failed(f"{why}\nthe crowd: {crowd.log.read_text()[-800:]}") from why
    finally:
        for process in (crowd, getting):
            if process:
                process.stop()
    for part in parcels.parts:
        difference = part.difference(out)
        if difference:
            raise Failed(f"{label}: the copy is not the payload: {difference}")
    if "ready" not in crowd.log.read_text():
        raise Failed(f"{label}: the download was over before all had connected")
    user, system = getting.cpu()
    wall, gib = getting.end - getting.start, parcels.size / GIB
    return {
        "wall": wall, "speed": parcels.size / MIB / wall, "cpu": (user + system) / gib,
        "user": user / gib, "system": system / gib,
        "others": max(busy - user - system - served, 0) / wall,
    }
