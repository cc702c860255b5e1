#!/usr/bin/env python3
"""libtorrent over plain TCP alone, or with `--utp` over plain uTP alone, for the interpreter that has it.

    libtorrent_client.py leech  TORRENT|LINK DIR IP:PORT               ends when complete
    libtorrent_client.py seed   TORRENT DIR IP:PORT                    seeds until its input ends
    libtorrent_client.py check  TORRENT DIR IP:PORT                    ends when all is hashed
    libtorrent_client.py create PATH TORRENT PIECE_BYTES v1|v2|hybrid  writes the .torrent
    libtorrent_client.py idle   TORRENTS_DIR DIR IP:PORT check|trust   says "ready", seeds as above

Peers come from the torrent's tracker: to those it connects at once, to others after half a second.
"""

import sys
from pathlib import Path

import libtorrent as lt

ENCRYPTION_DISABLED = 2


TCP = {"enable_outgoing_utp": False, "enable_incoming_utp": False}
UTP = {"enable_outgoing_tcp": False, "enable_incoming_tcp": False}


def session(endpoint):
    return lt.session((UTP if "--utp" in sys.argv else TCP) | {
        "listen_interfaces": endpoint,
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "in_enc_policy": ENCRYPTION_DISABLED, "out_enc_policy": ENCRYPTION_DISABLED,
        "allow_multiple_connections_per_ip": True,
        "stop_tracker_timeout": 1,
        "active_downloads": -1, "active_seeds": -1, "active_limit": 100_000,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
    })


def parameters(torrent, directory):
    torrent = str(torrent)
    if torrent.startswith("magnet:"):
        added = lt.parse_magnet_uri(torrent)
    else:
        added = lt.add_torrent_params()
        added.ti = lt.torrent_info(torrent)
    added.save_path = directory
    added.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    return added


def wait_for(ses, kind):
    while True:
        ses.wait_for_alert(1000)
        for alert in ses.pop_alerts():
            if isinstance(alert, kind):
                return
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                sys.exit(str(alert))


def move(mode, torrent, directory, endpoint):
    ses = session(endpoint)
    handle = ses.add_torrent(parameters(torrent, directory))
    if mode == "leech":
        wait_for(ses, lt.torrent_finished_alert)
        return
    wait_for(ses, lt.torrent_checked_alert)
    if not handle.status().is_seeding:
        sys.exit("not complete")
    if mode == "seed":
        sys.stdin.read()


def create(path, torrent, piece_bytes, kind):
    files = lt.file_storage()
    lt.add_files(files, path)
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
    made = lt.create_torrent(files, int(piece_bytes), flags[kind])
    lt.set_piece_hashes(made, str(Path(path).parent))
    Path(torrent).write_bytes(lt.bencode(made.generate()))


def idle(torrents, directory, endpoint, trust):
    ses = session(endpoint)
    names = sorted(Path(torrents).iterdir())
    for name in names:
        added = parameters(name, directory)
        if trust == "trust":
            added.flags |= lt.torrent_flags.seed_mode
        ses.async_add_torrent(added)
    while len(ses.get_torrent_status(lambda status: status.is_seeding)) < len(names):
        ses.wait_for_alert(50)
        ses.pop_alerts()
    print("ready", flush=True)
    sys.stdin.read()


def main():
    mode, *arguments = [word for word in sys.argv[1:] if word != "--utp"]
    if mode == "create":
        create(*arguments)
    elif mode == "idle":
        idle(*arguments)
    else:
        move(mode, *arguments)


main()
