"""After thousands of mixed requests, of which callers left more than a third at some instant and
the endpoint failed a tenth, nothing is reserved, nothing is leaked, and the ledger is what the
upstream's own prices come to, to the nano-dollar.

Each row of the ledger is
held against what the upstream sent for that attempt, and to what end: tokens by the rules in the
documentation, priced in integers without the gateway's code. Where a caller left while words were
on their way, the row may have any number of words between those that the caller saw and those that
were sent; ``fixed_by_upstream`` counts the rows that can have one amount alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from time import monotonic

from prove.drift_wall import Lot, lots
from prove.mixed import BUDGETS, Callers, Held, Load, loaded
from servers.plain import ask

SEED = 12
WORKERS = 20
SETTLED_S, LEAKS_S, CLOSED_S = 1.0, 2.0, 0.5
"""Within which nothing is reserved, all is given back, and an endpoint's connection is closed."""
UNHURRIED = 10
"""Times that, in the short form: how busy the machine of a test is proves nothing."""
CANCELLED = 0.3
"""The least share of requests whose callers' leaving ended them upstream, in the long form."""


def prove(short: bool) -> dict[str, object]:
    count = 400 if short else 10_000
    times = UNHURRIED if short else 1
    dice = Random(SEED)
    with loaded(dice) as load:
        todo = list(lots(count + WORKERS, dice))
        load.wall.lots = {lot.number: lot for lot in todo}
        planned = load.planned(todo[0])
        asyncio.run(_ask(load.callers, todo[:WORKERS]))
        before = load.quiet()
        asyncio.run(_ask(load.callers, todo[WORKERS:]))
        left = _released(before, load, times)
        left["reserved_left"] += _unaffordable(load)
        load.end()
        return _figures(load, planned, left, times)


async def _ask(callers: Callers, todo: Sequence[Lot]) -> None:
    left = iter(todo)
    await asyncio.gather(*(callers.work(left) for _ in range(WORKERS)))


def _released(before: Held, load: Load, times: int) -> dict[str, int]:
    """Wait until all is given back, as long as it may take, and say what is not."""
    ended_s = monotonic()
    now = load.held()
    while now.holds and monotonic() - ended_s < SETTLED_S * times:
        now = load.held()
    holds = now.holds
    while now.exceeds(before) and monotonic() - ended_s < LEAKS_S * times:
        now = load.held()
    return {
        "reserved_left": holds,
        "in_flight_left": max(0, now.in_flight - before.in_flight),
        "upstream_left": now.answers,
        "leaked_fds": max(0, now.files - before.files),
    }


def _unaffordable(load: Load) -> int:
    """Keys that may not spend all that is left of their day by the ledger's file, at once: more is
    reserved than there should be."""
    wrong = 0
    for name, key_id in load.books.key_ids().items():
        if BUDGETS[name]:
            left = 1000 * 10**9 - load.books.spent_nano_usd(key_id)
            tokens = left // (3000 * 1000)
            for most, status in ((tokens + 1, 402), (tokens, 200)):
                key = load.callers.keys[name]
                got = ask(load.running.address, "coarse", key=key, max_tokens=most)
                wrong += got.status != status
    return wrong


def _figures(load: Load, planned: int, left: Mapping[str, int], times: int) -> dict[str, object]:
    books, wall, callers = load.books, load.wall, load.callers
    closing_ms = [
        (arrival.left.at_s - callers.left_s[number]) * 1000
        for number in callers.left_s
        for arrival in wall.arrived.get(number, ())
        if arrival.left.is_open
    ]
    failed = sum(
        one.status != 200 or one.lot.fate == "cut" for of in wall.arrived.values() for one in of
    )
    figures: dict[str, object] = {
        "requests": len(wall.lots),
        "attempts": sum(map(len, wall.arrived.values())),
        "cancelled": len(callers.left_s),
        "cancelled_upstream": len(closing_ms),
        "upstream_errors": failed,
        "answered": callers.statuses[200],
        **load.compared(planned),
        "not_settled": books.open_intents(),
        "balance_differs": books.balances_that_differ(),
        "journal_differs_nano_usd": books.journal_differs_nano_usd(),
        **left,
        "slowest_close_ms": round(max(closing_ms)),
        "closed_late": sum(ms > CLOSED_S * 1000 * times for ms in closing_ms),
    }
    must_be_0 = (
        *("drift_nano_usd", "unexplained", "not_settled", "balance_differs"),
        *("journal_differs_nano_usd", "closed_late"),
    )
    least = 0.2 if times > 1 else CANCELLED
    enough = len(closing_ms) >= least * len(wall.lots)
    return {**figures, "ok": enough and not any(figures[name] for name in (*must_be_0, *left))}
