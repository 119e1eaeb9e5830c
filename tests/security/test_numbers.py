"""Threat 20: no number and no detour gets more out of a budget than is in it."""

from pathlib import Path
from typing import Any

import pytest

from fairlead.types.catalog import Price, Rates
from fairlead.types.decision import Limits as KeyLimits
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted, reply

BUDGET = 50_000_000
"""Nano-dollars: enough for a hundred tokens or two, and for no answer of the usual length."""

NUMBERS = [
    *("0", "-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808"),
    *("18446744073709551616", "1e309", "-1e309", "1e-309", "NaN", "Infinity", "-0", "0.5", "1e3"),
    *('"100"', '"0x10"', "true", "null", "[]", "{}", "[1]", "1" * 400, "2147483648", "1.0"),
]
MEMBERS = ["max_tokens", "max_completion_tokens", "n", "top_logprobs", "seed"]


async def spent(served: Served) -> int:
    await served.store.flush()
    rows = served.rows("SELECT coalesce(max(nano), 0) FROM spend")
    return int(rows[0][0])


@pytest.mark.parametrize("member", MEMBERS)
async def test_no_number_gets_past_a_budget(up: Scripted, tmp_path: Path, member: str) -> None:
    budget = KeyLimits(budget_day_nano_usd=BUDGET)
    async with serving(tmp_path, up, at(up, "a"), key=budget) as served:
        for number in NUMBERS:
            for more in ("", ',"max_tokens":100', ',"n":100', ',"stream":true'):
                hi = '"messages":[{"role":"user","content":"Hi"}]'
                body = f'{{"model":"a",{hi},"{member}":{number}{more}}}'
                got = await served.request("POST", "/v1/chat/completions", body.encode())
                assert got.status in (200, 400, 402), (got.status, body)
                if got.status >= 400:
                    assert got.json["error"]["type"]
        assert await spent(served) <= BUDGET
        await served.settled()


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"max_tokens": 1 << 31}, id="a long answer"),
        pytest.param({"max_tokens": 1_000_000, "stream": True}, id="a long stream"),
        pytest.param({"messages": [{"role": "user", "content": "a " * 999_999}]}, id="long words"),
        pytest.param({"metadata": {"fairlead.max_cost": "$999"}}, id="a wish of one's own"),
    ],
)
async def test_what_cannot_be_paid_is_not_asked(
    up: Scripted, tmp_path: Path, asked: dict[str, Any]
) -> None:
    tight = KeyLimits(budget_day_nano_usd=1000)
    large = at(up, "a", context_tokens=1 << 40, max_output_tokens=1 << 40)
    async with serving(tmp_path, up, large, key=tight) as served:
        got = await served.ask("a", **asked)

    assert (got.status, got.json["error"]["code"]) == (402, "budget_exhausted")
    assert up.asked("a") == []


async def test_a_budget_for_one_answer_does_not_pay_for_many(up: Scripted, tmp_path: Path) -> None:
    one_usd = KeyLimits(budget_day_nano_usd=10**9)
    dear = at(up, "a", prices=(Price(Rates(input=0, output=10**9)),))
    async with serving(tmp_path, up, dear, key=one_usd) as served:
        assert (await served.ask("a", max_tokens=900, n=2)).status == 402
        assert (await served.ask("a", max_tokens=900)).status == 200

    assert len(up.asked("a")) == 1


async def test_what_nobody_knows_the_price_of_is_not_free(up: Scripted, tmp_path: Path) -> None:
    budget = KeyLimits(budget_day_nano_usd=BUDGET)
    async with serving(tmp_path, up, at(up, "a", prices=()), key=budget) as served:
        got = await served.ask("a", max_tokens=1)

    assert got.status == 402
    assert up.asked("a") == []


async def test_who_may_ask_for_free_is_not_led_to_what_costs(up: Scripted, tmp_path: Path) -> None:
    """The free one fails; the dear one, next in line, is held to the budget as well."""
    up.on("free", reply(b"{}", status=500))
    up.on("dear", canned.OPENAI["text"])
    nothing = KeyLimits(budget_day_nano_usd=0)
    free = at(up, "free", prices=(Price(Rates(input=0, output=0)),))
    async with serving(tmp_path, up, free, at(up, "dear"), key=nothing) as served:
        got = await served.ask()
        assert await spent(served) == 0

    assert got.status in (402, 502)
    assert up.asked("dear") == []
