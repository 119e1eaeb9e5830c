"""Request ids: unique, sorted by time, safe in a header, a file name and a double click."""

from random import Random

_dice = Random()
"""Seeded by the system. An id opens nothing, so it may be guessed; asking the system for chance
each time would let go of the interpreter."""


def new_id(now_s: float) -> str:
    """12 hex digits of Unix milliseconds and 12 of chance, such as ``019abc45de01f3a9c0b1d2e3``."""
    return f"{int(now_s * 1000):012x}{_dice.getrandbits(48):012x}"
