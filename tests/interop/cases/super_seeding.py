"""`seed --super-seed`: eight aria2 leechers are complete for little more than one copy."""

import json

import netns
import payloads
from runner import case

LEECHERS = 8
COPIES_MAX = 1.10


@case("super-seeding/eight-aria2-leechers", seconds=120, cost=25)
def eight(lab):
    """At full speed: who comes first is given all but the last piece at once, and aria2 leaves when it is
    complete. By then the others have what it has. The last piece goes to each, as each leaves with it."""
    torrent = payloads.make(lab.directory, "new.bin", 3 << 20, 16 * 1024)
    seeder = lab.peerless()
    seeder.seed([torrent], torrent.home, "--super-seed")
    leechers = [lab.client("aria2") for _ in range(LEECHERS)]
    for number, leecher in enumerate(leechers):
        # They tell the tracker of themselves, and so find each other.
        leecher.download([torrent], lab.folder(f"out-{number}"), [seeder])
    for number, leecher in enumerate(leechers):
        leecher.wait_complete(100)
        torrent.check(lab.folder(f"out-{number}"), leecher.label)
    log = seeder.home / f"seed-{netns.split(seeder.serving(torrent))[1]}.log"
    seeder.stop()
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    sent = [event for event in said if event["event"] == "summary"][-1]["uploaded"]
    assert sent <= COPIES_MAX * torrent.size, f"it sent {sent / torrent.size:.2f} copies"
    assert sent >= torrent.size, "they got it from somewhere else: the case proves nothing"
