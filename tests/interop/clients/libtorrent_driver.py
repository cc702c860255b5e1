"""Runs inside the interpreter that has libtorrent: JSON commands in, JSON answers out, one a line.

Arguments: settings beside the ones below, as JSON; `--as-shipped` for more than plain TCP, `--utp`
for plain uTP alone.
Commands: `add`, `wait` (until all that was added is complete), `status`, `alerts`, `describe` (what
libtorrent reads in .torrent files), `create` (a .torrent with web seeds).
"""

import json
import sys
import time
from pathlib import Path

import libtorrent as lt

ENCRYPTION_DISABLED = 2

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "active_downloads": -1,
    "active_seeds": -1,
    "active_limit": 1000,
    "active_checking": 4,
    "stop_tracker_timeout": 1,
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.connect_notification,
}

PLAIN_TCP = {
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "in_enc_policy": ENCRYPTION_DISABLED,
    "out_enc_policy": ENCRYPTION_DISABLED,
}

PLAIN_UTP = {
    "enable_outgoing_tcp": False,
    "enable_incoming_tcp": False,
    "in_enc_policy": ENCRYPTION_DISABLED,
    "out_enc_policy": ENCRYPTION_DISABLED,
}


class Late(Exception):
    pass


class Driver:
    def __init__(self, settings):
        self.session = lt.session(SETTINGS | settings)
        self.handles = []

    def add(self, torrent, directory, peers=(), upload_limit=0, seconds=0):
        if torrent.startswith("magnet:"):
            parameters = lt.parse_magnet_uri(torrent)
        else:
            parameters = lt.add_torrent_params()
            parameters.ti = lt.torrent_info(torrent)
        parameters.save_path = directory
        parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        if upload_limit:
            # Of the torrent, not the session: the latter does not bind peers on a local network.
            parameters.upload_limit = upload_limit
        handle = self.session.add_torrent(parameters)
        for ip, port in peers:
            handle.connect_peer((ip, port))
        self.handles.append(handle)

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while True:
            states = [handle.status() for handle in self.handles]
            for state in states:
                if state.errc.value():
                    raise RuntimeError(f"{state.name}: {state.errc.message()}")
            if all(state.is_seeding for state in states):
                return
            if time.monotonic() > end:
                short = [f"{s.name} at {s.progress:.0%}" for s in states if not s.is_seeding]
                raise Late("not complete: " + ", ".join(short))
            self.session.wait_for_alert(100)
            for alert in self.session.pop_alerts():
                print(alert, file=sys.stderr, flush=True)

    def alerts(self, seconds=0):
        return [alert.message() for alert in self.session.pop_alerts()]

    def status(self, seconds=0):
        return {
            name_of(handle.info_hashes()): {
                "progress": state.progress,
                "seeding": state.is_seeding,
                "payload_uploaded": state.total_payload_upload,
                "payload_downloaded": state.total_payload_download,
                "peers": state.num_peers,
            }
            for handle in self.handles
            for state in [handle.status()]
        }

    def create(self, source, path, web_seeds, seconds=0):
        files = lt.file_storage()
        lt.add_files(files, source)
        made = lt.create_torrent(files, flags=lt.create_torrent.v1_only)
        for url in web_seeds:
            made.add_url_seed(url)
        lt.set_piece_hashes(made, str(Path(source).parent))
        Path(path).write_bytes(lt.bencode(made.generate()))

    def describe(self, torrents, seconds=0):
        return [describe(path) for path in torrents]


def name_of(hashes):
    """What handshakes call it: the v1 hash or, without one, the first half of the v2 hash."""
    return str(hashes.v1) if hashes.has_v1() else str(hashes.v2)[:40]


def describe(path):
    info = lt.torrent_info(path)
    files = info.files()
    return {
        "info_hash": name_of(info.info_hashes()),
        "name": info.name(),
        "piece_length": info.piece_length(),
        "pieces": info.num_pieces(),
        "size": info.total_size(),
        "private": info.priv(),
        "files": [[files.file_path(i), files.file_size(i)] for i in range(files.num_files())],
        "trackers": [[entry.tier, entry.url] for entry in info.trackers()],
    }


def main():
    transport = {} if "--as-shipped" in sys.argv else PLAIN_TCP
    transport = PLAIN_UTP if "--utp" in sys.argv else transport
    driver = Driver(transport | json.loads(sys.argv[1]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"answer": getattr(driver, command.pop("do"))(**command)}
        except Late as late:
            answer = {"late": str(late)}
        except Exception as problem:
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), flush=True)
    # End of input: the session's end writes out what is hashed but not on disk yet.


if __name__ == "__main__":
    main()
