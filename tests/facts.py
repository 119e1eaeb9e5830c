"""Facts for tests: one endpoint, one attempt at it, and what came of it."""

from typing import Any

from fairlead.types.catalog import Endpoint, Model, Price, Rates, Secret
from fairlead.types.chat import Usage
from fairlead.types.decision import Attempt, Score
from fairlead.types.facts import Attempted, Exchanged, Refused

NOON_MS = 1_795_521_600_000
"""2026-11-24 12:00 UTC."""
DAY_MS = 86_400_000


def endpoint(name: str = "acme/small", credentials: tuple[str, ...] = ("env:A",)) -> Endpoint:
    model = Model("small", prices=(Price(Rates(input=1, output=2), source="list 7"),))
    return Endpoint(
        name=name,
        provider="acme",
        model=model,
        upstream_model="small",
        dialect="openai_chat",
        base_url="http://127.0.0.1:1",
        secrets=tuple(Secret(credential) for credential in credentials),
    )


def attempt(worst_nano_usd: int | None = 100) -> Attempt:
    at = endpoint()
    return Attempt(
        endpoint=at,
        secret=at.secrets[0],
        score=Score(1, 1, 1, 1),
        expected_cost_nano_usd=worst_nano_usd,
        worst_cost_nano_usd=worst_nano_usd,
        expected_ms=100,
    )


def attempted(**changes: Any) -> Attempted:
    values: dict[str, Any] = {
        "id": "r1.1",
        "endpoint": "acme/small",
        "provider": "acme",
        "model": "small",
        "zone": "cloud",
        "credential": "env:A",
        "failure": "",
        "message": "",
        "status": 200,
        "began_ms": 1.0,
        "first_token_ms": 100.0,
        "total_ms": 1100.0,
        "usage": Usage(input_tokens=10, output_tokens=50),
        "cost_nano_usd": 60,
        "basis": "provider_usage",
        "price_version": "list 7",
    }
    return Attempted(**(values | changes))


def exchanged(**changes: Any) -> Exchanged:
    values: dict[str, Any] = {
        "request_id": "r1",
        "at_ms": NOON_MS,
        "caller": "k1",
        "caller_name": "team",
        "dialect": "openai_chat",
        "operation": "chat",
        "asked": "auto",
        "route": "auto",
        "task": "chat",
        "difficulty": 0.25,
        "stream": True,
        "attempts": (attempted(),),
        "outcome": "ok",
        "status": 200,
        "code": "",
        "finish": "stop",
        "usage": Usage(input_tokens=10, output_tokens=50),
        "cost_nano_usd": 60,
        "expected_cost_nano_usd": 50,
        "baseline_nano_usd": 600,
        "first_token_ms": 101.0,
        "total_ms": 1101.0,
        "overhead_ms": 0.5,
        "reason": "cheapest that can",
    }
    return Exchanged(**(values | changes))


def refused(**changes: Any) -> Refused:
    values: dict[str, Any] = {
        "request_id": "r2",
        "at_ms": NOON_MS,
        "caller": "k1",
        "caller_name": "team",
        "dialect": "openai_chat",
        "asked": "auto",
        "status": 402,
        "code": "budget_exhausted",
        "message": "nothing left",
        "total_ms": 0.3,
    }
    return Refused(**(values | changes))
