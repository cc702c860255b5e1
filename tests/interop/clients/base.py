"""The interface that every client under test shows to the cases."""

import netns


class Client:
    """One instance of a client, on its own address, port and home directory.

    A case calls `seed` or `download` once, then `wait_complete`, then `stop` (the lab stops
    whatever a case leaves running).
    """

    name = "?"

    can_seed_empty = True
    """Whether the client copes with files of no bytes."""

    one_handshake_an_address = False
    """Whether it drops a second incoming handshake from an address while one is under way."""

    def __init__(self, lab, family=4, label=None):
        self.lab = lab
        self.ip = lab.ip(family)
        self.port = lab.port()
        self.label = label or f"{self.name}-{self.port}"
        self.home = lab.folder(self.label)

    @property
    def endpoint(self):
        return netns.at(self.ip, self.port)

    def serving(self, torrent):
        """The endpoint at which this client serves `torrent`."""
        return self.endpoint

    def seed(self, torrents, directory):
        """Offer complete data below `directory`; returns when peers can fetch it."""
        raise NotImplementedError

    def download(self, torrents, out, seeders=(), by_magnet=False):
        """Begin to fetch `torrents` into `out` from `seeders` (clients) and the torrents' trackers.

        `by_magnet`: told the info hash alone, in a magnet link.
        """
        raise NotImplementedError

    def wait_complete(self, seconds):
        """Return when everything asked of `download` is there, by the client's own account."""
        raise NotImplementedError

    def kill(self):
        """End what `download` began as a power cut would."""
        self.process.kill()

    def resume(self, torrents, out, seeders=(), **options):
        """Begin again after `kill`, as a user would."""
        self.download(torrents, out, seeders, **options)

    def stop(self):
        raise NotImplementedError
