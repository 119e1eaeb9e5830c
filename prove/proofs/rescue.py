"""Streams cut at a random byte: text is gone on with to its exact end, by whoever can. Calls, JSON
of a given form and words that differ end in one error and no terminal. All is charged once.

Each stream has a number in its prompt. The upstream decides by it what is said, where it breaks and
how whoever is asked next answers, and keeps the log; callers read raw sockets and share nothing
with the gateway. A cut lies anywhere in the answer, within frames and characters too, by FIN or by
RST; where the caller is to have seen something, the rest waits until it has. The ledger's rows are
held against the upstream's log, attempt by attempt.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any

from prove.bills import PRICE
from prove.books import Books, Row
from prove.drift_wall import priced
from prove.heard import Heard, Raw, ask, heard
from prove.rescue_wall import CUT, DIALECTS, EXACT, Arrival, Lot, Wall, lots, routes
from servers.gateway import create_key, gateway
from servers.scripted import scripted
from servers.setup import CAPABILITIES, Setup

SEED = 27
WORKERS = 24
PATIENCE_S = 30.0
MUST_BE_0 = (
    *("duplicated_chars", "missing_chars", "wrong_ends", "beginnings_with_blanks"),
    *("billed_otherwise", "not_settled", "balance_differs"),
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
FORMS: Mapping[str, Mapping[str, Any]] = {
    "openai": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    },
    "anthropic": {
        "output_config": {
            "format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}
        }
    },
}


@dataclass(frozen=True)
class Got:
    raw: Raw
    found: Heard

    @property
    def request_id(self) -> str:
        return self.raw.headers.get("x-fairlead-request-id", "")


def prove(short: bool) -> dict[str, object]:
    todo = {lot.number: lot for lot in lots(80 if short else 1600, Random(SEED))}
    wall = Wall(todo)
    with tempfile.TemporaryDirectory() as name, scripted() as up:
        folder = Path(name)
        up.on("*", wall)
        setup = _setup(up.address)
        key = create_key(folder / "data", "team", "--budget-day", "1000")
        with gateway(folder, setup.text(), setup.secrets) as running:
            got = asyncio.run(_load(running.address, key, list(todo.values())))
        # It has stopped: all that it knows is on disk.
        books = Books(running.data / "fairlead.db")
        return _figures(todo, got, wall, books)


def _setup(address: str) -> Setup:
    setup = Setup()
    for route, models in routes().items():
        for name in models:
            can = [*CAPABILITIES, *(["prefill"] if name[0] in "pq" else [])]
            setup.endpoint(name, address, DIALECTS[name[-1]], price=PRICE, capabilities=can)
        if route not in models:
            setup.route(route, *models)
    return setup


async def _load(address: str, key: str, todo: Sequence[Lot]) -> dict[int, Got]:
    got: dict[int, Got] = {}
    left = iter(todo)

    async def work() -> None:
        for lot in left:
            got[lot.number] = await _ask(address, key, lot)
            if len(got) % 200 == 0:
                print(f"rescue: {len(got)} of {len(todo)} streams", file=sys.stderr, flush=True)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return got


async def _ask(address: str, key: str, lot: Lot) -> Got:
    form = "stream-tools" if lot.fate == "calls" else "stream"
    fields = FORMS[lot.caller] if lot.fate == "form" else {}
    prompt = f"Stream {lot.number}."
    asked = (address, lot.caller, lot.route, prompt, key, form, PATIENCE_S, lot.seen.open)
    raw = await ask(*asked, **fields)
    return Got(raw, heard(lot.caller, raw))


# What callers got --------------------------------------------------------------------------------


def _is_exact(lot: Lot, got: Got) -> bool:
    raw, found = got.raw, got.found
    finish = "stop" if lot.caller == "openai" else "end_turn"
    return (
        (raw.status, raw.complete, found.odd, found.finish) == (200, True, "", finish)
        and (found.ends, found.errors, found.after) == (1, 0, 0)
        and found.text == lot.text
        and _is_one(lot.caller, raw.body)
    )


def _is_clean(lot: Lot, got: Got) -> bool:
    """One error, last, and a transfer that is broken off."""
    raw, found = got.raw, got.found
    return (
        (raw.status, raw.complete, found.odd) == (200, False, "")
        and (found.ends, found.errors, found.after) == (0, 1, 0)
        and found.error_code == "upstream_stream_broken"
        and (lot.fate == "calls" or lot.text.startswith(found.text))
    )


def _is_one(caller: str, body: bytes) -> bool:
    """One answer by its envelope: one id, one model, one role; blocks in order, each closed."""
    told = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    if caller == "openai":
        heads = {(one["id"], one["created"], one["model"]) for one in told}
        roles = [one for one in told if one["choices"] and one["choices"][0]["delta"].get("role")]
        return (len(heads), len(roles)) == (1, 1)
    kinds = [one["type"] for one in told if one["type"] != "ping"]
    blocks = kinds.count("content_block_start")
    return (
        kinds[0] == "message_start"
        and kinds[-2:] == ["message_delta", "message_stop"]
        and [kinds.count(kind) for kind in ("message_start", "message_delta", "message_stop")]
        == [1, 1, 1]
        and kinds.count("content_block_stop") == blocks
    )


# What was charged --------------------------------------------------------------------------------


def _is_billed_once(lot: Lot, rows: Sequence[Row], arrived: Sequence[Arrival]) -> bool:
    return len(rows) == len(arrived) and all(
        _is_right(row, arrival) for row, arrival in zip(rows, arrived, strict=True)
    )


def _is_right(row: Row, arrival: Arrival) -> bool:
    """Its own usage where the upstream told all of it; no more than was sent where it broke."""
    if row.nano_usd is None:
        return False
    if arrival.status != 200:
        return (row.basis, row.nano_usd) == ("rejected_zero", 0)
    told = arrival.bill is not None and row.tokens == arrival.bill.tokens
    if row.basis == "provider_usage":
        return told and row.nano_usd == priced(row.tokens)
    if row.basis == "rejected_zero":
        return row.nano_usd == 0 and not arrival.frames
    counted = row.tokens[1] <= max(arrival.frames, 1)
    right = row.basis == "partial_estimate" and (told or counted)
    return right and row.nano_usd == priced(row.tokens)


def _rows(books: Books) -> Mapping[str, list[Row]]:
    found = books.by_request()
    for rows in found.values():
        rows.sort(key=lambda row: int(row.attempt_id.rpartition(".")[2]))
    return found


# Figures -----------------------------------------------------------------------------------------


def _figures(
    todo: Mapping[int, Lot], got: Mapping[int, Got], wall: Wall, books: Books
) -> dict[str, object]:
    cut = [lot for lot in todo.values() if any(one.broken for one in wall.arrived[lot.number])]
    texts = [lot for lot in cut if lot.fate in EXACT]
    cuts = [lot for lot in cut if lot.fate in CUT]
    rows = _rows(books)
    exact = [lot for lot in texts if _is_exact(lot, got[lot.number])]
    clean = [lot for lot in cuts if _is_clean(lot, got[lot.number])]
    billed = [
        lot
        for lot in todo.values()
        if _is_billed_once(lot, rows.get(got[lot.number].request_id, []), wall.arrived[lot.number])
    ]
    wrong = [lot for lot in texts if lot not in exact and not _is_clean(lot, got[lot.number])]
    duplicated, missing = _differences(texts, got)
    for lot in _not_in(texts, exact) + _not_in(cuts, clean) + _not_in(todo.values(), billed):
        _show(lot, got[lot.number], wall.arrived[lot.number], rows)
    share = len(exact) / len(texts)
    figures: dict[str, object] = {
        "streams": len(texts),
        "exact": len(exact),
        "exact_share": round(share, 4),
        "duplicated_chars": duplicated,
        "missing_chars": missing,
        **{f"exact_{fate}": sum(lot.fate == fate for lot in exact) for fate in EXACT},
        "not_cut": len(todo) - len(cut),
        "must_end_in_error": len(cuts),
        "clean_errors": len(clean),
        "wrong_ends": len(wrong) + len(cuts) - len(clean),
        "attempts": sum(map(len, wall.arrived.values())),
        "broke_after_content": sum(wall.arrived[lot.number][0].frames > 0 for lot in texts),
        "beginnings_with_blanks": sum(
            one.begun != one.begun.rstrip() for of in wall.arrived.values() for one in of
        ),
        "both_legs_billed_once": len(billed),
        "billed_otherwise": len(todo) - len(billed),
        "not_settled": books.open_intents(),
        "balance_differs": books.balances_that_differ(),
    }
    ok = share >= 0.99 and not any(figures[name] for name in MUST_BE_0)
    return {**figures, "ok": ok}


def _differences(texts: Sequence[Lot], got: Mapping[int, Got]) -> tuple[int, int]:
    """Characters that callers got and should not have, and that they were told were not there."""
    duplicated = missing = 0
    for lot in texts:
        found = got[lot.number].found
        pairs = zip(lot.text, found.text, strict=False)
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        duplicated += len(found.text) - same
        missing += len(lot.text) - same if found.ends else 0
    return duplicated, missing


def _not_in(these: Iterable[Lot], those: Sequence[Lot]) -> list[Lot]:
    return [lot for lot in these if lot not in those]


def _show(
    lot: Lot, got: Got, arrived: Sequence[Arrival], rows: Mapping[str, Sequence[Row]]
) -> None:
    asked = [f"{one.model} {one.status} {len(one.begun)} {one.frames}" for one in arrived]
    print(f"rescue: {lot.number} {lot.fate} {lot.caller} by {lot.route}: {asked}", file=sys.stderr)
    print(f"  wanted {lot.text!r}", file=sys.stderr)
    print(f"  got {got.raw.status}, {got.found}", file=sys.stderr)
    print(f"  which ended in {got.raw.body[-400:]!r}", file=sys.stderr)
    print(f"  charged {rows.get(got.request_id)}", file=sys.stderr, flush=True)
