"""Waiting that always ends: poll until something is so, or fail and say what never came."""

import time


class TooLate(AssertionError):
    """What was waited for did not happen in time."""


def until(predicate, seconds, what, interval=0.02):
    """The first truthy value of `predicate()`; `TooLate` naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise TooLate(f"{what}: not within {seconds:g} s")
        time.sleep(interval)
