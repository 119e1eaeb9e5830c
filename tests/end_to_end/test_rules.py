"""What holds whoever asks, in the program as users run it: another endpoint answers for one that
is down, budgets are not overspent, zones are not left, and secrets stay where they are."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from servers.canned import OPENAI
from servers.gateway import create_key, gateway
from servers.plain import Got, ask, request
from servers.scripted import Gate, Script, Scripted, Seen, reply, scripted
from servers.setup import Setup

NOBODY = "http://127.0.0.1:1"
"""Nothing listens there."""
ERROR = reply({"error": {"message": "internal"}}, status=500)
MANY = 20


@pytest.fixture
def up() -> Iterator[Scripted]:
    with scripted() as upstream:
        for model in ("first", "second", "near", "far"):
            upstream.on(model, OPENAI["text"])
        yield upstream


# Failover.


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_first_is_down_the_second_answers(
    tmp_path: Path, up: Scripted, stream: bool
) -> None:
    setup = (
        Setup()
        .endpoint("first", NOBODY, "openai_chat")
        .endpoint("second", up.address, "openai_chat")
        .route("pair", "first", "second")
    )
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        got = ask(running.address, "pair", stream=stream)

        assert got.status == 200
        assert got.headers["x-fairlead-endpoint"] == "at-second/second"
        assert got.headers["x-fairlead-attempts"] == "2"
        explained = running.command("explain", got.request_id)
        assert "at-first/first" in explained
        assert "connect" in explained


def plan_for(address: str, model: str) -> list[dict[str, object]]:
    """Whom the gateway would ask, in order."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello."}]}
    candidates = request("POST", f"{address}/v1/route", json.dumps(body).encode()).json[
        "candidates"
    ]
    assert isinstance(candidates, list)
    return candidates


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_first_fails_a_second_answers_whose_breaker_was_open(
    tmp_path: Path, up: Scripted, stream: bool
) -> None:
    """It failed before, and is well by now; nobody has found out yet."""
    setup = (
        Setup()
        .endpoint("first", up.address, "openai_chat")
        .endpoint("second", up.address, "openai_chat")
        .route("pair", "first", "second")
    )
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        up.on("second", reply(b"<html>", content_type="text/html"))
        for _ in range(5):
            ask(running.address, "second")
        first, second = plan_for(running.address, "pair")
        assert (first["endpoint"], second["endpoint"]) == ("at-first/first", "at-second/second")
        assert "last_resort" not in first
        assert second["last_resort"] == "env:KEY_SECOND: breaker is open"

        up.on("second", OPENAI["text"])
        up.on("first", ERROR)
        up.forget()
        got = ask(running.address, "pair", stream=stream)
        assert got.status == 200
        assert got.headers["x-fairlead-endpoint"] == "at-second/second"
        assert [seen.model for seen in up.seen] == ["first", "first", "second"]
        told = running.command("explain", got.request_id)
        assert "last resort: env:KEY_SECOND: breaker is open" in " ".join(told.split())
        assert "last_resort" not in plan_for(running.address, "pair")[1]


# Budgets.


class Crowd:
    """Answers nobody until all have been let through or refused."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()
        self._gate = Gate()

    def count(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._gate.open()

    def __call__(self, seen: Seen) -> Script:
        self.count()
        return (self._gate, *OPENAI["text"](seen))


def test_a_budget_is_not_overspent_by_many_at_once(tmp_path: Path, up: Scripted) -> None:
    setup = Setup().endpoint("first", up.address, "openai_chat")
    key = create_key(tmp_path / "data", "team", "--budget-day", "0.002")
    crowd = Crowd(MANY)
    up.on("first", crowd)

    def one(address: str) -> Got:
        got = ask(address, "first", key=key, max_tokens=150)  # worth about $0.0003
        if got.status != 200:
            crowd.count()
        return got

    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        with ThreadPoolExecutor(MANY) as threads:
            answers = list(threads.map(one, [running.address] * MANY))
        (team,) = running.command_json("keys", "list")["keys"]

    answered = [got for got in answers if got.status == 200]
    assert 1 < len(answered) < MANY
    assert {got.status for got in answers} == {200, 402}
    assert len(up.seen) == len(answered)
    spent = sum(Decimal(got.headers["x-fairlead-cost-usd"]) for got in answered)
    assert Decimal(team["spent_today_usd"]) == spent <= Decimal("0.002")


def test_a_budget_that_has_run_out_asks_nobody(tmp_path: Path, up: Scripted) -> None:
    setup = Setup().endpoint("first", up.address, "openai_chat")
    key = create_key(tmp_path / "data", "team", "--budget-day", "0.0000001")

    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        got = ask(running.address, "first", key=key)

    assert (got.status, up.seen) == (402, [])
    assert "budget" in got.json["error"]["message"]


# Zones.


@pytest.fixture
def zones(up: Scripted) -> Setup:
    return (
        Setup()
        .endpoint("near", up.address, "openai_chat", provider={"zone": "local"}, strength=0.2)
        .endpoint("far", up.address, "openai_chat", strength=0.9)
        .route("pair", "far", "near")
    )


@pytest.mark.parametrize("route", ["auto", "best", "fast", "pair", "near"])
def test_a_request_narrowed_to_a_zone_stays_there(
    tmp_path: Path, up: Scripted, zones: Setup, route: str
) -> None:
    with gateway(tmp_path, zones.text(), zones.secrets) as running:
        assert ask(running.address, "pair").headers["x-fairlead-endpoint"] == "at-far/far"
        up.forget()

        got = ask(running.address, route, headers={"x-fairlead-zone": "local"})
        assert got.headers["x-fairlead-endpoint"] == "at-near/near"
        up.on("near", ERROR)
        assert ask(running.address, route, headers={"x-fairlead-zone": "local"}).status >= 500
        assert ask(running.address, "far", headers={"x-fairlead-zone": "local"}).status == 403

    assert {seen.model for seen in up.seen} == {"near"}


def test_a_key_bound_to_a_zone_cannot_be_talked_out_of_it(
    tmp_path: Path, up: Scripted, zones: Setup
) -> None:
    key = create_key(tmp_path / "data", "clerk", "--zone", "local")
    with gateway(tmp_path, zones.text(), zones.secrets) as running:
        assert ask(running.address, "pair", key=key).status == 200
        wider = {"x-fairlead-zone": "cloud"}
        assert ask(running.address, "pair", key=key, headers=wider).status == 403
        assert ask(running.address, "at-far/far", key=key).status == 403
        up.on("near", ERROR)
        assert ask(running.address, "auto", key=key).status >= 500

    assert {seen.model for seen in up.seen} == {"near"}


# Secrets.


PROMPT = "canary-prompt-5f1c"
ANSWER = "canary-answer-9d2e"
PROVIDERS_KEY = "canary-credential-81c4"
"""Does not look like one."""


def echo(status: int) -> Script:
    """A provider that writes into its error what it had better kept."""
    about_the_account = status in (401, 403, 429)
    told = PROVIDERS_KEY if about_the_account else f"{PROMPT}, {PROVIDERS_KEY}"
    return reply({"error": {"message": f"{told}: no", "code": "refused"}}, status=status)


def test_secrets_and_what_was_said_stay_where_they_are(tmp_path: Path, up: Scripted) -> None:
    setup = Setup().endpoint("first", up.address, "openai_chat")
    key = create_key(tmp_path / "data", "team")
    text = f"Repeat: {PROMPT}"
    with gateway(tmp_path, setup.text(), {"KEY_FIRST": PROVIDERS_KEY}) as running:
        address = running.address
        said = reply({**OPENAI["text"].whole, "choices": [_choice(ANSWER)]})
        up.on("first", said, *(echo(status) for status in (400, 500, 401)))
        assert ANSWER in ask(address, "first", text, key=key).text
        failures = [ask(address, "first", text, key=key) for _ in range(3)]
        assert len(up.seen) == 4
        failures += [
            ask(address, "first", text, key=key[:-1] + "x"),
            ask(address, "none", text, key=key),
            ask(address, "first", text, key=key, temperature=PROMPT),
            request("POST", f"{address}/v1/chat/completions", PROMPT.encode(), _bearer(key)),
            request("GET", f"{address}/{PROVIDERS_KEY}", None, _bearer(key)),
        ]
        kept = {
            "metrics": request("GET", f"{address}/metrics").body,
            "logs": running.command("logs", "--json").encode(),
        }
        running.kill()
        output = running.output.text.encode()
    kept |= {"output": output, "log": (tmp_path / "fairlead.log").read_bytes()}
    files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
    kept |= {path.name: path.read_bytes() for path in files}
    kept |= {
        f"error {number}": got.body + json.dumps(dict(got.headers)).encode()
        for number, got in enumerate(failures)
    }

    assert all(got.status >= 400 for got in failures)
    for where, what in kept.items():
        for secret in (PROVIDERS_KEY, key):
            assert secret.encode() not in what, where
        if not where.startswith("error"):
            assert PROMPT.encode() not in what, where
            assert ANSWER.encode() not in what, where


def _choice(text: str) -> dict[str, object]:
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "finish_reason": "stop"}


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
