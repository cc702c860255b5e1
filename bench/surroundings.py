"""What a figure depends on besides the clients: the day, the machine, its kernel and file system."""

import datetime
import json
import mmap
import os
import platform
import subprocess
from pathlib import Path

MIB = 1 << 20


def describe(scratch, contenders, names):
    """A line about everything, with the versions of the clients named."""
    versions = dict.fromkeys(contenders[name].version() for name in names if name in contenders)
    return (
        f"{datetime.date.today()}; {os.cpu_count()} cores ({cpu_model()}); Linux {platform.release()}; "
        f"files on {file_system(scratch)}; {', '.join(versions)}"
    )


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def cpu_flags():
    wanted = ("sha_ni", "avx2", "avx512f")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return [flag for flag in wanted if flag in line.split()]
    return []


def file_system(path):
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(path)]
    # Where one is mounted over another it names both.
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]


def free_bytes(path):
    try:
        status = os.statvfs(path)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def touch_memory(mib):
    """Takes so much memory and frees it. Where idle memory goes back to a virtual machine's host, whoever
    is next to touch it waits until it is there again, and that shall be none of the clients."""
    with mmap.mmap(-1, min(mib, memory_mib() // 4) * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1


def memory_mib():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise ValueError("no MemTotal in /proc/meminfo")


def hash_kernel(peerless):
    """Which of its kernels peerless chose here, by its own word."""
    command = [peerless, "demo", "--json", "--size", "1M"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])["hash_kernel"]
