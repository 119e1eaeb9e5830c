"""A server log of any length, always the same: the haystack that one step has to sum up."""

import hashlib
from collections.abc import Iterator
from itertools import count

CALM = (
    ("INFO", "booking-api", "POST /v2/bookings 201 in {ms} ms req_{id}"),
    ("INFO", "booking-api", "GET /v2/bookings/{id} 200 in {ms} ms"),
    ("INFO", "tariff-cache", "lookup zone={zone} weight={ms}g hit"),
    ("INFO", "label-printer", "label req_{id} rendered, {ms} kB"),
    ("DEBUG", "carrier-gateway", "poll carrier c{zone} ok, {ms} events"),
)
TROUBLE = (
    ("ERROR", "tariff-cache", "no free connection in pool: 6 of 6 in use, waited {ms} ms"),
    ("ERROR", "booking-api", "upstream tariff-cache timed out after 30000 ms req_{id}"),
    ("WARN", "booking-api", "all 64 worker threads are waiting"),
    ("ERROR", "label-printer", "no tariff for req_{id}, label put back in queue"),
)
FIRST_SECOND = 13 * 3600 + 53 * 60 + 40
LINES_PER_SECOND = 4
RELEASE_LINE = 1200
"""Where the release stands, five minutes into the log; trouble begins after it."""
SPREAD_LINES = 240
"""After so many lines each, trouble reaches the next service."""


def server_log(characters: int) -> str:
    """At least ``characters`` long, less than two lines more."""
    lines: list[str] = []
    missing = characters
    for line in _lines():
        lines.append(line)
        missing -= len(line) + 1
        if missing < 0:
            break
    return "\n".join(lines)


def _lines() -> Iterator[str]:
    for number in count():
        if number == RELEASE_LINE:
            yield _line(number, ("INFO", "tariff-cache", "version 4.12.0 started, pool=6"), 0)
        # Any 8 well mixed bytes of the line's number do, as long as they never change.
        digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=8).digest()
        dice = int.from_bytes(digest, "big")
        reached = 1 + (number - RELEASE_LINE) // SPREAD_LINES
        troubled = number > RELEASE_LINE and dice % 7 == 0
        kinds = TROUBLE[:reached] if troubled else CALM
        yield _line(number, kinds[dice // 7 % len(kinds)], dice)


def _line(number: int, kind: tuple[str, str, str], dice: int) -> str:
    level, service, text = kind
    seconds, quarter = divmod(number, LINES_PER_SECOND)
    seconds += FIRST_SECOND
    clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    millisecond = quarter * 250 + dice % 250
    told = text.format(ms=dice % 977, id=f"{dice % 16**8:08x}", zone=dice % 23)
    return f"2026-11-03T{clock}.{millisecond:03}Z {level:5} {service} {told}"
