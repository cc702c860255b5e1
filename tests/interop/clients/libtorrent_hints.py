"""Makes and reads .torrent files with hints (BEP 38) under the interpreter that has libtorrent.

One argument, JSON: `path`, `target`, `format` (`v1`, `v2`), `piece_length`, and `similar` and
`collections`; or `read`, a .torrent. Prints what libtorrent reads in the file.
"""

import json
import sys
from pathlib import Path

import libtorrent as lt

FORMATS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only}


def make(job):
    path = Path(job["path"])
    flags = FORMATS[job["format"]]
    files = lt.list_files(str(path), lambda name: True, flags)
    made = lt.create_torrent(files, job["piece_length"], flags)
    for digits in job.get("similar", []):
        made.add_similar_torrent(lt.sha1_hash(bytes.fromhex(digits)))
    for name in job.get("collections", []):
        made.add_collection(name)
    lt.set_piece_hashes(made, str(path.parent))
    Path(job["target"]).write_bytes(lt.bencode(made.generate()))


job = json.loads(sys.argv[1])
if "read" not in job:
    make(job)
info = lt.torrent_info(job.get("read") or job["target"])
hashes = info.info_hashes()
print(json.dumps({
    "info_hash": str(hashes.v1) if hashes.has_v1() else str(hashes.v2)[:40],
    "similar": [str(similar) for similar in info.similar_torrents()],
    "collections": list(info.collections()),
}))
