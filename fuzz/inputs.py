"""Where seeds come from, and how one input is cut into pieces as a network would."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SEEDS = Path(__file__).parent / "seeds"


def golden(dialect: str, pattern: str) -> list[bytes]:
    """What goes over the wire in the dialect, from the tests' recordings."""
    return [path.read_bytes() for path in sorted((GOLDEN / dialect).glob(pattern))]


def made(what: str) -> list[bytes]:
    """Written by hand for one target."""
    return [path.read_bytes() for path in sorted((SEEDS / what).iterdir())]


def pieces(data: bytes) -> Iterator[bytes]:
    """The input in pieces of 1 to 40 bytes, the same for the same input."""
    dice = Random(zlib.crc32(data))
    at = 0
    while at < len(data):
        size = dice.randint(1, 40)
        yield data[at : at + size]
        at += size
