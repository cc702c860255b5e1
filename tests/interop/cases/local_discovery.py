"""Local discovery (BEP 14) by multicast on the namespace's loopback: nobody has a tracker or a peer."""

import subprocess

import payloads
from house import House
from runner import case

OURS = ["--local-discovery", "--no-tracker"]


@case("local-discovery/get-libtorrent", cost=1)
def get(lab):
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    leecher = lab.peerless(arguments=OURS)
    out = lab.folder("out")
    leecher.download([torrent], out)
    seeder = lab.client("libtorrent", local_discovery=True)
    seeder.seed([torrent], torrent.home)
    leecher.wait_complete(50)
    torrent.check(out, leecher.label)


@case("local-discovery/between-us", cost=3)
def ourselves(lab):
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    seeder = lab.peerless(arguments=OURS)
    seeder.seed([torrent], torrent.home)
    leecher = lab.peerless(arguments=OURS)
    out = lab.folder("out")
    leecher.download([torrent], out)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)


@case("local-discovery/by-link", cost=5)
def by_link(lab):
    """Who comes by a link is told of by libtorrent's word, or tells that it is there."""
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    first, late = (lab.peerless(arguments=OURS) for _ in range(2))
    outs = [lab.folder("first"), lab.folder("late")]
    first.download([torrent], outs[0], by_magnet=True)
    lab.client("libtorrent", local_discovery=True).seed([torrent], torrent.home)
    first.wait_complete(50)
    late.download([torrent], outs[1], by_magnet=True)
    late.wait_complete(50)
    torrent.check(outs[0], first.label)
    torrent.check(outs[1], late.label)


@case("local-discovery/ipv6", cost=3)
def by_ipv6(lab):
    """On a link of two hosts that have no address but of IPv6."""
    torrent = payloads.make(lab.directory, "near.bin", 1_000_000)
    house = House(lab, 9)
    for within, link, ip in ([], house.outside, "fd78::1"), (house.within, "door9", "fd78::2"):
        for change in ("-4 addr flush dev", f"addr add {ip}/64 nodad dev"):
            subprocess.run([*within, "ip", *change.split(), link], check=True)
    seeder, leecher = (lab.peerless(arguments=OURS) for _ in range(2))
    seeder.ip, leecher.ip, leecher.program = house.outside, "door9", house.program(lab.peerless_path)
    seeder.seed([torrent], torrent.home)
    out = lab.folder("out")
    leecher.download([torrent], out)
    leecher.wait_complete(30)
    torrent.check(out, leecher.label)
