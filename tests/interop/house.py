"""Networks of their own beside the worker's, which is the internet to them and its first address on
each of their links the gateway: what is behind a router, and what lets nothing in unasked.
"""

import subprocess

FILTER = """
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        icmp type { echo-request, destination-unreachable } accept
    }
}
"""


def _run(*words, text=None):
    done = subprocess.run([str(word) for word in words], input=text, text=True, capture_output=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr.strip()}"
    return done.stdout


class House:
    """One host in a network of its own. `closed`: it takes what answers to its own packets alone.
    `ipv6`: both have global addresses too, and the way out is by the gateway's address of their link."""

    def __init__(self, lab, number, closed=False, ipv6=False):
        self.ip, self.gateway = f"192.168.{number}.2", f"192.168.{number}.1"
        # A file that stands for the network. In /proc only `self` is right here: its numbers are those
        # of another namespace, and lead to somebody else's network.
        self._network = lab.directory / f"house-{number}"
        self._network.touch()
        _run("unshare", "--net", "sh", "-c", 'mount --bind /proc/self/ns/net "$0"', self._network)
        assert _run(*self.within, "ip", "-br", "link").count("\n") == 1, "a network of somebody else"
        lab.at_end(self.close)
        outside, inside = f"house{number}", f"door{number}"
        self._lab, self._number, self.outside = lab, number, outside
        ends = ["type", "veth", "peer", "name", inside, "netns", self._network]
        _run("ip", "link", "add", outside, *ends)
        _run("ip", "addr", "add", f"{self.gateway}/24", "dev", outside)
        _run("ip", "link", "set", outside, "up")
        lines = ["link set lo up", f"addr add {self.ip}/24 dev {inside}", f"link set {inside} up",
                 f"route add default via {self.gateway}"]
        _run(*self.within, "ip", "-batch", "-", text="\n".join(lines) + "\n")
        if ipv6:
            self._add_ipv6(outside, inside)
        if closed:
            _run(*self.within, "nft", "-f", "-", text=FILTER)

    def _add_ipv6(self, outside, inside):
        prefix = f"2001:db8:{self._number}:"
        self.ipv6 = [f"{prefix}:2", f"{prefix}:3"]
        self.gateway_ipv6 = f"fe80::{self._number}:1"
        # nodad: an address under duplicate detection cannot be bound yet.
        for ip in (self.gateway_ipv6, f"{prefix}:1"):
            _run("ip", "addr", "add", f"{ip}/64", "dev", outside, "nodad")
        lines = [f"addr add {ip}/64 dev {inside} nodad" for ip in self.ipv6]
        lines += [f"addr add fe80::{self._number}:2/64 dev {inside} nodad",
                  f"-6 route add default via {self.gateway_ipv6} dev {inside}"]
        for line in lines:
            _run(*self.within, "ip", *line.split())

    @property
    def within(self):
        """Words before a command that has it run here."""
        return ["nsenter", f"--net={self._network}", "--"]

    def program(self, path):
        """A program that runs `path` here."""
        script = self._lab.directory / f"in-{self._number}-{path.name}"
        script.write_text(f"#!/bin/sh\nexec {' '.join(self.within)} {path} \"$@\"\n")
        script.chmod(0o755)
        return script

    def close(self):
        _run("ip", "link", "del", self.outside)
        _run("umount", self._network)


def route_between():
    """Has the worker's network pass packets on from house to house."""
    with open("/proc/sys/net/ipv4/ip_forward", "w") as switch:
        switch.write("1")
