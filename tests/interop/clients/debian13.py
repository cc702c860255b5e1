"""Debian 13's Transmission (4.1) and aria2 (1.37): the first of each that read a hybrid of BitTorrent v2.

Both know v1 alone: they read past what a hybrid has for v2, and its padding is files to them.
"""

import tools
from clients.aria2 import Aria2
from clients.transmission import Transmission


class Transmission4(Transmission):
    name = "transmission-4"
    can_seed_empty = True
    one_handshake_an_address = False
    log_level = ["--log-level=info"]

    @staticmethod
    def daemon():
        return tools.newer_program("transmission-daemon")


class Aria2Newer(Aria2):
    name = "aria2-newer"

    @staticmethod
    def program():
        return tools.newer_program("aria2c")
