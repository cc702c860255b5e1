"""Peer exchange (BEP 11): a hub is the only contact that the tracker names, and what it tells its
peers of each other brings them together. Nobody has any data, so nobody leaves.
"""

import payloads
from deadline import until
from runner import case


def _met(one, other):
    """Whether `one` of ours is or was connected to `other`."""
    peers = [event["peer"] for event in one.events(one.get) if event["event"] == "peer_connected"]
    return any(peer.rsplit(":", 1)[0] == other.ip for peer in peers)


def _hub(lab, kind):
    torrent = payloads.make(lab.directory, "wanted.bin", 1_000_000)
    hub = lab.client(kind)
    hub.download([torrent], lab.folder("hub"))
    return torrent, hub


@case("exchange/we-tell", seconds=90, cost=4)
def we_tell(lab):
    """libtorrent and aria2 know us alone, and hear of each other."""
    torrent, hub = _hub(lab, "peerless")
    libtorrent, aria2 = lab.client("libtorrent"), lab.client("aria2")
    for leecher in (libtorrent, aria2):
        leecher.download([torrent], lab.folder(f"out-{leecher.label}"), [hub])
    until(lambda: _met(hub, libtorrent) and _met(hub, aria2), 40, "both to come to us")

    def peers():
        return libtorrent.status()[torrent.info_hash]["peers"]

    until(lambda: peers() == 2, 40, "libtorrent to meet aria2")


@case("exchange/we-tell-transmission", seconds=90, cost=6)
def we_tell_transmission(lab):
    """The tracker names us alone to Transmission, which hears of libtorrent or is dialled by it."""
    torrent, hub = _hub(lab, "peerless")
    libtorrent, transmission = lab.client("libtorrent"), lab.client("transmission")
    for leecher in (libtorrent, transmission):
        leecher.download([torrent], lab.folder(f"out-{leecher.label}"), [hub])
    until(lambda: _met(hub, libtorrent) and _met(hub, transmission), 40, "both to come to us")

    def others():
        return {peer["address"] for peer in transmission.peers(torrent)}

    until(lambda: libtorrent.ip in others(), 40, "Transmission to meet libtorrent")


@case("exchange/we-hear", seconds=170, cost=2)
def we_hear(lab):
    """Two of us know libtorrent alone, which tells once a minute."""
    torrent, hub = _hub(lab, "libtorrent")
    ours = [lab.peerless(), lab.peerless()]
    for leecher in ours:
        leecher.download([torrent], lab.folder(f"out-{leecher.label}"), [hub])
    one, other = ours
    until(lambda: _met(one, other) or _met(other, one), 140, "the two to meet")
