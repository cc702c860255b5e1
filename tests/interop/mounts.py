"""Mounts of a worker's own, which nobody outside its namespace sees, and ext4 disks in files."""

import subprocess

import tools


def run(*words):
    """Runs a command of the system, which has to do what it is told."""
    name, *rest = map(str, words)
    done = subprocess.run([tools.program(name), *rest], capture_output=True, text=True)
    said = done.stderr.strip() or "not a word"
    assert done.returncode == 0, f"`{name} {' '.join(rest)}`: exit {done.returncode}: {said}"


def take_off(at):
    """Unmounts what is mounted there, if anything is."""
    subprocess.run([tools.program("umount"), "--lazy", at], capture_output=True)


def make_ext4(image, size):
    """A disk in a file."""
    with image.open("wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", image)


def mount_ext4(image, at):
    run("mount", "-o", "loop", image, at)
