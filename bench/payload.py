"""The bytes that a row moves, their torrent, and whether a copy of them is identical."""

import hashlib
import os
import subprocess
from functools import cached_property
from urllib.parse import quote

import bencode

MIB = 1 << 20
GIB = 1 << 30
FILES_IN_FOLDER = 256


class Payload:
    """Random files below `home/data` and a .torrent of them."""

    def __init__(self, home, peerless, *, mib, piece, tracker, file_bytes=None, name="payload", kind="v1"):
        """`piece`: as `peerless create` takes it. `file_bytes`: many files, of so many bytes each."""
        self.size, self.data, self.torrent = mib * MIB, home / "data", home / "payload.torrent"
        self.many, self.piece = file_bytes is not None, piece
        self.name, self.tracker = name, tracker
        self.hashes = {}  # kind of .torrent -> what the first who made one found
        self.digests = {}  # path below the download directory -> SHA-256
        if self.many:
            for number in range(self.size // file_bytes):
                folder = f"{number // FILES_IN_FOLDER:03}"
                self._write(f"{self.name}/{folder}/{number:05}.bin", file_bytes)
        else:
            self._write(self.name, self.size)
        command = [peerless, "create", self.source, "-o", self.torrent, "--piece-length", piece, "--tracker", tracker,
                   "--format", kind]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _write(self, below, length):
        path = self.data / below
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb") as file:
            while length:
                part = os.urandom(min(length, MIB))
                file.write(part)
                digest.update(part)
                length -= len(part)
        self.digests[below] = digest.digest()

    @property
    def source(self):
        """The file, or the folder of the files."""
        return self.data / self.name

    @property
    def gib(self):
        return self.size / GIB

    @cached_property
    def info(self):
        return bencode.decode(self.torrent.read_bytes())[b"info"]

    @cached_property
    def info_hash(self):
        return hashlib.sha1(bencode.encode(self.info)).hexdigest()

    @property
    def link(self):
        """A magnet link, which names the tracker."""
        return f"magnet:?xt=urn:btih:{self.info_hash}&tr={quote(self.tracker, safe='')}"

    def difference(self, directory):
        """The first file below `directory` that is not as it should be; nothing when all are."""
        for below, wanted in self.digests.items():
            try:
                with (directory / below).open("rb") as file:
                    if hashlib.file_digest(file, "sha256").digest() != wanted:
                        return f"{below} differs"
            except OSError as error:
                return str(error)
        return None

    def __str__(self):
        files = f" in {len(self.digests)} files" if self.many else ""
        return f"{self.size // MIB} MiB{files}, pieces of {self.piece}"
