"""What vendors tell of their limits in an answer's headers: how much is left, and until when."""

import asyncio
from datetime import UTC, datetime
from email.utils import formatdate
from math import floor
from typing import Any

from multidict import CIMultiDict

from prove.simulation.answers import ANTHROPIC
from prove.simulation.chance import Chance

THEIR_CLOCK_S = 1_700_000_000
"""At second 0 of the simulation; it need not be right."""
ANTHROPICS = ("requests", "tokens", "input-tokens", "output-tokens")
OPENAIS = ("requests", "tokens")
WAITS_S = (0.5, 2, 7, 15, 90, 2_000)


class Headroom:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._likely = chance.one_of((0.05, 0.3, 0.7))

    def tell(self, exchange: Any, headers: CIMultiDict[str], dialect: str) -> None:
        """Some of their limits, each with what is left. A refusal that asks for a time of its own
        means that."""
        chance = self._chance
        refused = exchange.how == "429"
        if (exchange.said is None and not refused) or chance.happens(0.3):
            return
        dry = refused or chance.happens(self._likely)
        waits_s = {
            what: chance.one_of(WAITS_S)
            for what in chance.some_of(ANTHROPICS if dialect == ANTHROPIC else OPENAIS)
        }
        used_up = chance.some_of(tuple(waits_s)) if dry else ()
        now_s = THEIR_CLOCK_S + floor(asyncio.get_running_loop().time())
        headers["date"] = formatdate(now_s, usegmt=True)
        known_s = []
        for what, wait_s in waits_s.items():
            left = "0" if what in used_up else str(chance.whole(1, 90_000))
            if dialect == ANTHROPIC:
                wait_s = max(1, floor(wait_s))
                headers[f"anthropic-ratelimit-{what}-remaining"] = left
                headers[f"anthropic-ratelimit-{what}-reset"] = _time(now_s + wait_s)
            else:
                headers[f"x-ratelimit-remaining-{what}"] = left
                headers[f"x-ratelimit-reset-{what}"] = _duration(wait_s, chance)
            if what in used_up:
                known_s.append(float(wait_s))
        if dialect == ANTHROPIC and "requests" not in waits_s:
            # As they always do, and by this one is known who they are.
            headers["anthropic-ratelimit-requests-remaining"] = "5"
        exchange.dry_s = max(known_s, default=None)


def _time(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(wait_s: float, chance: Chance) -> str:
    ways = [f"{wait_s:g}s", f"{wait_s:g}", f"{floor(wait_s * 1000)}ms"]
    if wait_s >= 60:
        ways.append(f"{floor(wait_s) // 60}m{floor(wait_s) % 60}s")
    return chance.one_of(ways)
