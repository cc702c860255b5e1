"""IP filters with libtorrent at the other end: whom a list names is never connected, either way."""

import gzip

import payloads
from clients.peerless import Exit
from deadline import until
from runner import case
from transfers import fetch


def _lists(lab, ip):
    """One in each format; the last of them names `ip`."""
    dat = lab.directory / "level.dat"
    dat.write_text(f"{ip} - {ip} , 200 , trusted\n198.51.100.0 - 198.51.100.9 , 000 , others\n")
    cidr = lab.directory / "networks.txt"
    cidr.write_text("# others\n192.0.2.0/24\n2001:db8::/32\n")
    p2p = lab.directory / "named.p2p.gz"
    p2p.write_bytes(gzip.compress(f"somebody: whom we know:{ip}-{ip}\n".encode()))
    return [word for path in (dat, cidr) for word in ("--ip-filter", path)], ["--ip-filter", p2p]


@case("ip-filter/libtorrent", cost=4)
def libtorrent(lab):
    torrent = payloads.make(lab.directory, "filtered.bin", 2_000_000)
    foreign = lab.client("libtorrent")
    foreign.seed([torrent], torrent.home)
    others, theirs = _lists(lab, foreign.ip)

    refusing = lab.peerless(arguments=[*others, *theirs, "--wait-peers", "2"])
    refusing.download([torrent], lab.folder("refused"), [foreign])
    assert refusing.get.wait(20) == Exit.NO_PEERS
    summary = refusing.summary()
    assert summary["downloaded"] == 0 and summary["filtered"] > 0, summary
    names = {event["event"] for event in refusing.events(refusing.get)}
    assert "peer_connected" not in names, names

    # And when it is the one who connects.
    ours = lab.peerless(arguments=[*others, *theirs])
    ours.seed([torrent], torrent.home)
    leecher = lab.client("libtorrent")
    _, list_of_leecher = _lists(lab, leecher.ip)
    closed = lab.peerless(arguments=["-vv", *list_of_leecher])
    closed.seed([torrent], torrent.home)
    leecher.download([torrent], lab.folder("never"), [closed])
    process = closed._seeds[torrent.info_hash][0]
    until(lambda: "the IP filter has it" in process.log.read_text(), 15, "libtorrent to be refused")
    assert leecher.status()[torrent.info_hash]["payload_downloaded"] == 0
    assert not any(event["event"] == "peer_connected" for event in closed.events(process))
    fetch(lab, "libtorrent", [torrent], ours, 30)

    getting = lab.peerless(arguments=others)
    done = lab.folder("done")
    getting.download([torrent], done, [foreign])
    getting.wait_complete(30)
    torrent.check(done, getting.label)
