"""Where seeds come from, and how one input is cut into pieces as a network would."""

import zlib
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SEEDS = Path(__file__).parent / "seeds"
DICE = Random(1).choices(range(1 << 16), k=1009)
"""Thrown beforehand: this is done for every input."""


def golden(dialect: str, pattern: str) -> list[bytes]:
    """What goes over the wire in the dialect, from the tests' recordings."""
    return [path.read_bytes() for path in sorted((GOLDEN / dialect).glob(pattern))]


def made(what: str) -> list[bytes]:
    """Written by hand for one target."""
    return [path.read_bytes() for path in sorted((SEEDS / what).iterdir())]


def pieces(data: bytes) -> list[bytes]:
    """The input in pieces of 1 to 40 bytes, or to a tenth of it, the same for the same input."""
    size, width = len(data), max(40, len(data) // 10)
    dice = zlib.crc32(data) % len(DICE)
    cuts: list[bytes] = []
    at = 0
    while at < size:
        to = at + 1 + DICE[dice - len(cuts)] % width
        cuts.append(data[at:to])
        at = to
    return cuts
