"""The one movement most cases make: a client fetches torrents from a seeder, and the copy is compared."""


def fetch(lab, kind, torrents, seeder, seconds, by_magnet=False, **options):
    """Let a client of `kind` fetch all `torrents` from `seeder` alone; gives the instances used."""
    # Some seeders drop a second handshake from an address while the first one is under way.
    batches = [[t] for t in torrents] if seeder.one_handshake_an_address else [torrents]
    leechers = []
    for batch in batches:
        leecher = lab.client(kind, **options)
        out = leecher.home / "out"
        out.mkdir()
        leecher.download(batch, out, [seeder], by_magnet=by_magnet)
        leechers.append((leecher, batch, out))
    for leecher, batch, out in leechers:
        leecher.wait_complete(seconds)
        # Stopped first: what it still holds back must be on disk, and its account final.
        leecher.stop()
        for torrent in batch:
            torrent.check(out, leecher.label)
    return [leecher for leecher, _, _ in leechers]
