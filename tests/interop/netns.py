"""A private network for the suite: a network and PID namespace that holds only a loopback.

No packet can leave it, ports never clash with anything else on the machine, and every client gets
an address of its own (Transmission refuses peers in 127.0.0.0/8, and most clients want one
connection per address). The PID namespace makes clean-up certain: when its first process ends,
the kernel ends every process inside.
"""

import os
import subprocess
import sys

ADDRESSES = 20
IPV4 = [f"10.77.0.{n}" for n in range(1, ADDRESSES + 1)]
IPV6 = [f"fd77::{n:x}" for n in range(1, ADDRESSES + 1)]


def command(argv):
    """`argv`, to be run as the first process of fresh namespaces."""
    # Without root, a user namespace in which we are root gives the right to make the others.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", *argv]


def raise_loopback():
    """Inside the namespaces: bring `lo` up and give it all the addresses."""
    lines = ["link set lo up multicast on"]
    lines += [f"addr add {ip}/32 dev lo" for ip in IPV4]
    # nodad: an address under duplicate detection cannot be bound yet.
    lines += [f"addr add {ip}/128 dev lo nodad" for ip in IPV6]
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, capture_output=True
    )
    if done.returncode != 0:
        sys.exit(f"cannot set up the loopback of the namespace: {done.stderr.strip()}")


def at(ip, port):
    """`ip:port`, with brackets around an IPv6 address."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def split(endpoint):
    """The reverse of `at`."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)
