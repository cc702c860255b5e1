"""Holepunching (BEP 55): two hosts that let nothing in unasked, and a third one, which has nothing to
give, in the open.
"""

import payloads
from deadline import until
from house import House, route_between
from runner import case


def _met(lab, relay_kind):
    torrent = payloads.make(lab.directory, "wanted.bin", 300_000)
    houses = [House(lab, 7, closed=True), House(lab, 8, closed=True)]
    route_between()
    relay = lab.client(relay_kind, **({"as_shipped": True} if relay_kind == "libtorrent" else {}))
    relay.download([torrent], lab.folder("relay"))
    one, other = (lab.peerless(), lab.peerless())
    outs = [lab.folder("one"), lab.folder("other")]
    for client, house, out in zip((one, other), houses, outs):
        client.ip, client.program = "0.0.0.0", house.program(lab.peerless_path)
        client.download([torrent], out, [relay], extra=["--allow-private"])

    def met():
        peers = [event["peer"] for event in one.events(one.get) if event["event"] == "peer_connected"]
        return any(peer.startswith(houses[1].ip + ":") for peer in peers)

    until(met, 80, "one to meet the other")


@case("holepunch/relay-peerless", seconds=100, cost=10)
def by_us(lab):
    _met(lab, "peerless")
