"""`handshake`: one exchange of 68 bytes with each client (BEP 3, 10, 20), and every way it can fail."""

import re
import socket

import netns
import payloads
import trackers
from clients.peerless import Exit
from lab import FOREIGN
from runner import case


def _with(kind):
    @case(f"handshake/{kind}", cost=2)
    def body(lab):
        # One torrent for each greeting: for half a second after a connection has closed,
        # Transmission drops another from the same address for the same torrent.
        first = payloads.make(lab.directory, "first.bin", 50_000)
        second = payloads.make(lab.directory, "second.bin", 50_000)
        seeder = lab.client(kind)
        seeder.seed([first, second], first.home)
        peerless = lab.peerless()

        text = peerless.run("handshake", first.path, seeder.endpoint).out.splitlines()
        found = re.fullmatch(r"Peer ID: ([0-9a-f]{40})", text[0])
        assert found, f"first line is {text[0]!r}"
        assert kind in "\n".join(text[1:]).lower(), f"no client name in {text}"

        # The ids of a client share what names it, whether or not the rest is drawn anew.
        answer = peerless.json("handshake", second.path, seeder.endpoint).json
        assert answer["peer_id"][:16] == found[1][:16], answer
        assert kind in answer["client"].lower(), answer

    @case(f"handshake/{kind}-other-torrent", cost=2)
    def body_other(lab):
        """Asked for a torrent it does not have, each of them just closes the connection."""
        known = payloads.make(lab.directory, "known.bin", 50_000)
        other = payloads.make(lab.directory, "other.bin", 50_000)
        seeder = lab.client(kind)
        seeder.seed([known], known.home)
        done = lab.peerless().run(
            "handshake", other.path, seeder.endpoint, code=Exit.CLOSED_EARLY
        )
        assert "closed" in done.err, done


for _kind in FOREIGN:
    _with(_kind)


@case("handshake/nobody-listens", cost=3)
def nobody(lab):
    torrent = payloads.make(lab.directory, "greeted.bin", 50_000)
    endpoint = netns.at(lab.ip(), lab.port())
    lab.peerless().run("handshake", torrent.path, endpoint, code=Exit.CANNOT_CONNECT)


@case("handshake/web-server", cost=1)
def web_server(lab):
    """It answers `400 Bad Request`: not BitTorrent, and no wait for 68 bytes to be sure."""
    torrent = payloads.make(lab.directory, "greeted.bin", 50_000)
    server = trackers.BittorrentTracker(lab, [torrent])
    endpoint = netns.at(server.ip, server.port)
    lab.peerless().run("handshake", torrent.path, endpoint, code=Exit.NOT_BITTORRENT)


@case("handshake/silent-peer", cost=10)
def silent(lab):
    torrent = payloads.make(lab.directory, "greeted.bin", 50_000)
    with socket.create_server((lab.ip(), lab.port())) as server:
        endpoint = netns.at(*server.getsockname())
        lab.peerless().run("handshake", torrent.path, endpoint, code=Exit.TIMED_OUT, seconds=60)


def _by_utp(kind):
    @case(f"handshake/{kind}-by-utp", cost=4)
    def body(lab):
        torrent = payloads.make(lab.directory, "greeted.bin", 50_000)
        seeder = lab.client(kind, transport="utp")
        seeder.seed([torrent], torrent.home)
        arguments = ["handshake", torrent.path, seeder.endpoint, "--transport", "utp"]
        answer = lab.peerless().json(*arguments).json
        assert answer["transport"] == "utp", answer
        assert kind in answer["client"].lower(), answer
        assert answer["address"] == seeder.endpoint, answer


for _kind in ("transmission", "libtorrent"):
    _by_utp(_kind)
