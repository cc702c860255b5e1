"""The trackers that the suite runs: two that others wrote, and a plain one of its own."""

from trackers.bittorrent_tracker import BittorrentTracker
from trackers.opentracker import Opentracker

FOREIGN = [Opentracker, BittorrentTracker]
