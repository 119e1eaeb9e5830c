"""The real gateway, dispatch, breakers, limits and ledger in a world of crashes, delays and cancels
that a seed decides, on a loop in which time is free: no invariant breaks in any of many worlds.
"""

import os

from prove.simulation.many import kept_seeds, on_every_core, tally_of

SHORT_SEEDS = 300
LONG_SEEDS = 100_000


def prove(short: bool) -> dict[str, object]:
    """``SEEDS`` and ``FROM`` in the environment say how many of them, and from where, at length."""
    kept = tally_of(kept_seeds(), every_kind=True)
    if short:
        kept.join(tally_of(range(SHORT_SEEDS)))
        return kept.found
    count, first = int(os.environ.get("SEEDS", LONG_SEEDS)), int(os.environ.get("FROM", 0))
    kept.join(on_every_core(first, count))
    return kept.found
