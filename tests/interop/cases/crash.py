"""kill -9 in the middle, twenty times: what was fetched stays, and what comes out is identical."""

import random

import payloads
from deadline import until
from runner import case

KILLS = 20
SIZE = 40 << 20
PIECE = 256 * 1024
RATE = 3 << 20

IN_FLIGHT_BYTES = 512 * 1024
"""The most that is asked for or received but not yet on disk when the kill comes."""

SLACK_PIECES = 2
"""Pieces begun and not finished beyond what is in flight."""


@case("crash/kill-9", seconds=150, cost=21)
def kill(lab):
    torrent = payloads.make(lab.directory, "killed.bin", SIZE, PIECE)
    seeder = lab.client("libtorrent")
    seeder.seed([torrent], torrent.home, upload_limit=RATE)
    leecher = lab.peerless()
    out = lab.folder("out")
    rng = random.Random("kill -9")

    def uploaded():
        return seeder.status()[torrent.info_hash]["payload_uploaded"]

    share = SIZE / (KILLS + 2)
    for number in range(KILLS):
        before = uploaded()
        # Measured in bytes, not seconds: every kill hits a transfer that is under way.
        moment = before + rng.uniform(0.1, 1) * share
        leecher.download([torrent], out, [seeder], extra=["--no-tracker"])
        until(
            lambda: uploaded() >= moment or not leecher.get.running,
            30,
            f"data after restart {number}",
        )
        assert leecher.get.running, "complete before the last kill: the case is too small"
        leecher.get.kill()
    leecher.download([torrent], out, [seeder], extra=["--no-tracker"])
    leecher.wait_complete(60)
    torrent.check(out, leecher.label)
    again = uploaded() - torrent.size
    bound = KILLS * (IN_FLIGHT_BYTES + SLACK_PIECES * PIECE)
    assert again <= bound, f"fetched {again} bytes again, more than {bound}"
