"""Makes .torrent files with libtorrent, under the interpreter that has it.

Standard input has a list of jobs as JSON: `path`, `target`, `format` (`v1`, `v2`, `hybrid`),
`piece_length`, `symlinks`, `date`, and optionally `trackers` (tiers), `web_seeds`, `comment`,
`creator`, `private`.
"""

import json
import sys
from pathlib import Path

import libtorrent as lt

FORMATS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}


def linked(path, name):
    """Whether a file below `path` is a link or in a folder that is one."""
    whole = path.parent / name
    return any(part.is_symlink() for part in [whole, *whole.parents] if path in part.parents)


def make(job):
    path = Path(job["path"])
    flags = FORMATS[job["format"]]
    flags |= lt.create_torrent.symlinks if job["symlinks"] else 0
    files = [
        entry
        for entry in lt.list_files(str(path), lambda name: True, flags)
        if job["symlinks"] or not linked(path, entry.filename)
    ]
    # v1 torrents get the order that the caller has; libtorrent's own is that of the folder.
    files.sort(key=lambda entry: [part.encode() for part in Path(entry.filename).parts])
    made = lt.create_torrent(files, job["piece_length"], flags)
    made.set_creation_date(job["date"])
    for tier, urls in enumerate(job.get("trackers", [])):
        for url in urls:
            made.add_tracker(url, tier)
    for url in job.get("web_seeds", []):
        made.add_url_seed(url)
    if job.get("comment"):
        made.set_comment(job["comment"])
    if job.get("creator"):
        made.set_creator(job["creator"])
    if job.get("private"):
        made.set_priv(True)
    lt.set_piece_hashes(made, str(path.parent))
    Path(job["target"]).write_bytes(lt.bencode(made.generate()))


for job in json.load(sys.stdin):
    make(job)
