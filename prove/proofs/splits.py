"""However the network cuts a stream, its caller gets the same: not a character more, less or other.

Every cut in two of every recording, random cuts in many, through the dialects; and random cuts
through a real gateway and its sockets.
"""

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from random import Random
from time import monotonic

from prove.heard import HANGS_S, Raw, ask
from prove.recordings import CALLERS, Recording, asked, cut, recordings, told
from prove.vendors import VENDORS
from servers.gateway import create_key, gateway
from servers.scripted import SSE, Script, Scripted, Seen, chunk, head, scripted

SEED = 20_260_101
WRONG_UTF8 = "\ufffd".encode()
AT_ONCE = 16
OURS = re.compile(rb'(chatcmpl-|msg_)[0-9a-z]+|"created":\d+')
"""What differs from one answer to the next."""
HEAD = head(200, {"content-type": SSE, "transfer-encoding": "chunked"})


def prove(short: bool) -> dict[str, object]:
    dice = Random(SEED)
    every = recordings()
    twos, wrong = _in_two(every, 61 if short else 1)
    many, wrong_many = _in_many(every, 2_000 if short else 100_000, dice)
    sent, wrong_sent = _sent(every, 100 if short else 2_000, dice)
    different = wrong + wrong_many + wrong_sent
    return {
        "recordings": len(every),
        "cut_in_two": twos,
        "cut_in_many": many,
        "over_sockets": sent,
        "different": different,
        "ok": not different and len(every) >= 20,
    }


def _in_two(every: list[Recording], step: int) -> tuple[int, int]:
    cases = wrong = 0
    for recording in every:
        for caller in CALLERS:
            request = asked(caller)
            right = told(recording, caller, request, [recording.wire])
            assert WRONG_UTF8 not in right, recording.name
            for place in range(1, len(recording.wire), step):
                got = told(recording, caller, request, cut(recording.wire, place))
                cases += 1
                wrong += _differs(got, right, f"{recording.name} to {caller}, cut at {place}")
        print(f"splits: {cases} in two, {recording.name} done", file=sys.stderr, flush=True)
    return cases, wrong


def _in_many(every: list[Recording], cases: int, dice: Random) -> tuple[int, int]:
    pairs = [(recording, caller, asked(caller)) for recording in every for caller in CALLERS]
    rights = [
        told(recording, caller, asked, [recording.wire]) for recording, caller, asked in pairs
    ]
    wrong = 0
    for number in range(cases):
        recording, caller, request = pairs[number % len(pairs)]
        places = _places(recording.wire, dice)
        got = told(recording, caller, request, cut(recording.wire, *places))
        what = f"{recording.name} to {caller}, cut at {places}"
        wrong += _differs(got, rights[number % len(pairs)], what)
    return cases, wrong


def _places(data: bytes, dice: Random) -> list[int]:
    """From two to as many as there are bytes, few more often than many."""
    count = min(len(data) - 1, 2 ** dice.randint(1, 12))
    return sorted(dice.sample(range(1, len(data)), count))


def _differs(got: bytes, right: bytes, what: str) -> bool:
    if got == right:
        return False
    print(f"splits: {what}: {got[:200]!r} is not {right[:200]!r}", file=sys.stderr)
    return True


# Over sockets ------------------------------------------------------------------------------------


class Cutting:
    """Plays a recording, its transfer cut anew each time that it is asked; the first time not."""

    def __init__(self, recording: Recording, dice: Random) -> None:
        self._wire = HEAD + chunk(recording.wire) + b"0\r\n\r\n"
        self._dice = dice
        self._asked = 0

    def __call__(self, seen: Seen) -> Script:
        self._asked += 1
        places = _places(self._wire, self._dice) if self._asked > len(CALLERS) else []
        return cut(self._wire, *places)


def _sent(every: list[Recording], cases: int, dice: Random) -> tuple[int, int]:
    with tempfile.TemporaryDirectory(prefix="fairlead-splits-") as folder, scripted() as up:
        config = _configuration(every, up, dice)
        key = create_key(Path(folder) / "data", "splits")
        keys = {f"KEY_{name.upper()}": "no-key-of-anybody" for name in VENDORS}
        with gateway(Path(folder), config, keys) as running:
            return asyncio.run(_asked(running.address, key, len(every), cases))


def _configuration(every: list[Recording], up: Scripted, dice: Random) -> str:
    providers = {
        vendor.dialect: {
            "address": f"{up.address}/v1",
            "dialect": vendor.dialect,
            "zone": "cloud",
            "api_key": {"env": f"KEY_{name.upper()}"},
        }
        for name, vendor in VENDORS.items()
    }
    can = ["tools", "parallel_tools", "reasoning", "sampling", "system", "stream"]
    models = {}
    for number, recording in enumerate(every):
        models[f"m{number}"] = {"at": recording.dialect, "capabilities": can}
        up.on(f"m{number}", Cutting(recording, dice))
    return json.dumps({"server": {"discover": False}, "providers": providers, "models": models})


async def _asked(address: str, key: str, models: int, cases: int) -> tuple[int, int]:
    width = asyncio.Semaphore(AT_ONCE)
    wrong = 0

    async def one(model: int, caller: str) -> Raw:
        async with width:
            form = "stream-tools"
            return await ask(address, caller, f"m{model}", "Hi", key, form, HANGS_S, lambda: None)

    kinds = [(model, caller) for model in range(models) for caller in VENDORS]
    rights = {kind: _plain(await one(*kind)) for kind in kinds}
    began_s = monotonic()
    asked_for = [kinds[number % len(kinds)] for number in range(cases)]
    for kind, raw in zip(
        asked_for, await asyncio.gather(*(one(*k) for k in asked_for)), strict=True
    ):
        got = _plain(raw)
        wrong += not (raw.complete and raw.status == 200) or _differs(got, rights[kind], str(kind))
    print(f"splits: {cases} sent in {monotonic() - began_s:.1f} s", file=sys.stderr)
    return cases, wrong


def _plain(raw: Raw) -> bytes:
    return OURS.sub(b"", raw.body)
