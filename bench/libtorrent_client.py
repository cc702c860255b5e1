#!/usr/bin/env python3
"""The rival in bench/run.py: libtorrent as a plain-TCP leecher or seeder.

    libtorrent_client.py leech TORRENT DIR PORT PEER_HOST:PORT   exits when complete
    libtorrent_client.py seed  TORRENT DIR PORT                  prints "ready", seeds until killed

Everything but plain TCP is off on both sides of the comparison.
"""

import sys

import libtorrent as lt


def session(port):
    return lt.session({
        "listen_interfaces": f"127.0.0.1:{port}",
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_outgoing_utp": False, "enable_incoming_utp": False,
        "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
    })


def wait_for(ses, kind):
    while True:
        ses.wait_for_alert(1000)
        for alert in ses.pop_alerts():
            if isinstance(alert, kind):
                return
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                sys.exit(str(alert))


def main():
    mode, torrent, directory, port = sys.argv[1:5]
    ses = session(port)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = directory
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    handle = ses.add_torrent(params)
    if mode == "leech":
        host, _, peer_port = sys.argv[5].rpartition(":")
        handle.connect_peer((host, int(peer_port)))
        wait_for(ses, lt.torrent_finished_alert)
    else:
        wait_for(ses, lt.torrent_checked_alert)
        print("ready", flush=True)
        sys.stdin.read()


main()
