"""A decision as JSON: all that was weighed, in order, with exact money."""

import json
from typing import Any

from msgspec.structs import replace

from decide.pool import ANYONE, FLAGSHIP, LOCAL, MID, SMALL, ask, changed, keyed, view
from fairlead.decide import consider, decide
from fairlead.decide.explain import as_json
from fairlead.types.chat import Image, Message, Narrowing, Text
from fairlead.types.decision import Vitals


def told(endpoints: tuple[Any, ...], request: Any = None, **facts: Any) -> Any:
    return json.loads(as_json(decide(request or ask(), ANYONE, view(*endpoints, **facts))))


def test_the_whole() -> None:
    request = ask("Extract the date", narrowing=Narrowing(zones=("cloud",)))

    assert told((SMALL, LOCAL, FLAGSHIP), request) == {
        "route": "auto",
        "reason": "small: extract, easy; good enough (0.99) at 1/12 of the cost of flagship",
        "task": {
            "kind": "extract",
            "difficulty": 0.12,
            "input_tokens": 9,
            "output_tokens": 40,
            "needs": [],
            "cues": ["extract"],
        },
        "candidates": [
            {
                "endpoint": "bolt/small",
                "model": "small",
                "zone": "cloud",
                "score": {"total": 0.995, "quality": 0.993, "cost": 1.0, "speed": 1.0},
                "expected_cost_usd": "0.00008225",
                "expected_ms": 572,
            },
            {
                "endpoint": "acme/flagship",
                "model": "flagship",
                "zone": "cloud",
                "score": {"total": 0.75, "quality": 1.0, "cost": 0.0, "speed": 0.0},
                "expected_cost_usd": "0.001045",
                "expected_ms": 2600,
            },
        ],
        "rejected": [
            {
                "endpoint": "house/tiny",
                "rule": "zone",
                "reason": "zone 'local' is not among those of the request: cloud",
            }
        ],
        "expected_cost_usd": "0.00008225",
        "baseline_cost_usd": "0.001045",
        "max_attempts": 3,
        "deadline_s": 600.0,
    }


def test_a_preview_tells_the_same_as_the_plan() -> None:
    now = view()

    assert as_json(consider(ask(), ANYONE, now)) == as_json(decide(ask(), ANYONE, now))


def test_with_nobody_left_there_is_no_plan_to_tell() -> None:
    picture = ask(messages=(Message("user", (Text("What is it?"), Image(data="aa"))),))

    explained = json.loads(as_json(consider(picture, ANYONE, view(MID))))

    assert explained["candidates"] == []
    assert [one["rule"] for one in explained["rejected"]] == ["modality"]
    assert set(explained) == {"route", "task", "candidates", "rejected"}


def test_credentials_and_caps_where_there_are_any() -> None:
    (candidate,) = told((keyed(MID, "key-1"),), affordable_nano_usd=10_022_000)["candidates"]

    assert candidate["credential"] == "key-1"
    assert candidate["max_output_tokens"] == 1_000


def test_who_is_to_be_asked_last_says_so_and_why() -> None:
    down = {("bolt/small", ""): Vitals(state="open")}

    first, last = told((MID, SMALL), vitals=down)["candidates"]

    assert "last_resort" not in first
    assert (last["endpoint"], last["last_resort"]) == ("bolt/small", "breaker is open")


def test_an_unknown_price_is_null() -> None:
    explained = told((changed(MID, prices=()),))

    assert explained["expected_cost_usd"] is None
    assert explained["baseline_cost_usd"] is None
    assert explained["candidates"][0]["expected_cost_usd"] is None


def test_needs_are_in_order() -> None:
    seeing = replace(FLAGSHIP, dialect="openai_chat")
    request = ask(messages=(Message("user", (Image(data="aa"),)),), tools=())

    assert told((seeing,), request)["task"]["needs"] == ["image"]
