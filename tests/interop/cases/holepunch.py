"""Holepunching (BEP 55): two hosts that let nothing in unasked, and a third one, which has nothing to
give, in the open.
"""

import payloads
from deadline import until
from house import House, route_between
from runner import case

ALL_ALERTS = {"alert_mask": 0x7FFFFFFF, "alert_queue_size": 100_000}


def _closed_houses(lab):
    houses = [House(lab, number, closed=True) for number in (7, 8)]
    route_between()
    return houses


def _at_home(lab, house, torrent, relay, **options):
    """One of ours behind a closed door."""
    client = lab.peerless(**options)
    client.ip, client.program = "0.0.0.0", house.program(lab.peerless_path)
    out = lab.folder(f"out of {house.ip}")
    client.download([torrent], out, [relay], extra=["--allow-private"])
    return client


def _has_met(client, house):
    events = client.events(client.get)
    peers = [event["peer"] for event in events if event["event"] == "peer_connected"]
    return any(peer.startswith(f"{house.ip}:") for peer in peers)


@case("holepunch/relay-peerless", seconds=100, cost=3)
def by_us(lab):
    torrent = payloads.make(lab.directory, "wanted.bin", 300_000)
    houses = _closed_houses(lab)
    relay = lab.peerless()
    relay.download([torrent], lab.folder("relay"))
    one, _other = [_at_home(lab, house, torrent, relay) for house in houses]
    until(lambda: _has_met(one, houses[1]), 80, "one to meet the other")


@case("holepunch/relay-libtorrent", seconds=100, cost=4)
def by_libtorrent(lab):
    """It knows peers by where their connections come from, so they have to be uTP's. It binds itself to
    the interface that has its address, and can't be reached on a loopback from elsewhere."""
    torrent = payloads.make(lab.directory, "wanted.bin", 300_000)
    houses = _closed_houses(lab)
    relay = lab.client("libtorrent", as_shipped=True, house=House(lab, 9), settings=ALL_ALERTS)
    relay.download([torrent], lab.folder("relay"))
    one, _other = [_at_home(lab, house, torrent, relay, transport="utp") for house in houses]
    until(lambda: _has_met(one, houses[1]), 80, "one to meet the other")
    said = [alert for alert in relay.alerts() if "==> HOLEPUNCH [ msg: connect" in alert]
    assert len(said) >= 2, "they met without the relay"


@case("holepunch/with-libtorrent", seconds=100, cost=8)
def with_libtorrent(lab):
    """Our relay brings libtorrent and one of ours together. Either asks for it: whose dial failed first."""
    torrent = payloads.make(lab.directory, "wanted.bin", 300_000)
    houses = _closed_houses(lab)
    relay = lab.peerless()
    relay.download([torrent], lab.folder("relay"))
    # It asks for help once a dial has failed.
    settings = ALL_ALERTS | {"peer_connect_timeout": 2}
    other = lab.client("libtorrent", as_shipped=True, house=houses[1], settings=settings)
    other.download([torrent], lab.folder("other"), [relay])
    one = _at_home(lab, houses[0], torrent, relay, transport="utp")
    until(lambda: _has_met(one, houses[1]), 80, "the two to meet")
    said = other.alerts()
    assert any("<== HOLEPUNCH [ msg:connect" in alert for alert in said), "they met without the relay"
