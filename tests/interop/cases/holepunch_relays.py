"""Relays (BEP 55) that know peers only by where their packets come from: who is behind a NAT has to come
to them by uTP, and comes by uTP first to whom others name as one that can help.
"""

import payloads
from cases.holepunch import ALL_ALERTS, _at_home, _closed_houses, _has_met
from deadline import until
from house import House
from runner import case


@case("holepunch/relay-libtorrent-by-hearsay", seconds=130, cost=24)
def by_hearsay(lab):
    """TCP and uTP lead to the relay, and a third one tells of it. That one is gone when the other comes,
    and it alone could have brought the two together that knows where they listen."""
    torrent = payloads.make(lab.directory, "wanted.bin", 300_000)
    houses = _closed_houses(lab)
    house = House(lab, 9)
    relay = lab.client("libtorrent", as_shipped=True, house=house, settings=ALL_ALERTS)
    relay.download([torrent], lab.folder("relay"))
    teller = lab.peerless()
    teller.download([torrent], lab.folder("teller"), [relay])
    one = _at_home(lab, houses[0], torrent, teller)
    until(lambda: _has_met(one, house), 40, "one to hear of the relay")
    teller.stop()
    _at_home(lab, houses[1], torrent, relay, transport="utp")
    until(lambda: _has_met(one, houses[1]), 50, "one to meet the other")
    said = [alert for alert in relay.alerts() if "==> HOLEPUNCH [ msg: connect" in alert]
    assert len(said) >= 2, "they met without the relay"
