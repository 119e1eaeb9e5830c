"""A process to be killed: holds and settles without end, and says on its output what it was told
is on disk. Usage: ledger_victim.py DATABASE PREFIX"""

import asyncio
import os
import sys
from pathlib import Path

import uvloop

from facts import NOON_MS, attempt, attempted
from fairlead.outside.store import Store
from fairlead.state.ledger import Ledger
from fairlead.types.decision import Caller, Limits

HARD = Caller("hard", "hard", limits=Limits(budget_day_nano_usd=10**15))
FREE = Caller("free", "free")
RESERVE_NANO_USD = 1000


async def spend(ledger: Ledger, prefix: str, lane: int) -> None:
    caller = HARD if lane % 2 else FREE
    number = 0
    while True:
        number += 1
        name = f"{prefix}.{lane}.{number}"
        hold = ledger.hold(name, name, caller, attempt(RESERVE_NANO_USD), NOON_MS)
        if caller.has_budget:
            await hold.durable
        await asyncio.sleep(0)
        cost_nano_usd = number % 7
        fact = attempted(id=name, cost_nano_usd=cost_nano_usd)
        settled = ledger.settle(hold, fact, NOON_MS)
        if number % 5 == 0:
            await ledger.settle(hold, fact, NOON_MS)
        await settled
        os.write(1, f"{name} {caller.id} {cost_nano_usd}\n".encode())


async def main(path: Path, prefix: str) -> None:
    ledger = Ledger(Store(path, asyncio.get_running_loop()))
    ledger.recover(NOON_MS)
    await asyncio.gather(*(spend(ledger, prefix, lane) for lane in range(16)))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
