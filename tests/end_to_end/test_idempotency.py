"""Asking again across a kill: what was answered is replayed, what was not is answered anew."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from prove.books import Books

from servers.canned import OPENAI
from servers.gateway import create_key, gateway
from servers.plain import Got, ask
from servers.scripted import Gate, Scripted, scripted
from servers.setup import Setup

FINISHED, UNFINISHED = {"idempotency-key": "order-7"}, {"idempotency-key": "order-8"}


@pytest.fixture
def up() -> Iterator[Scripted]:
    with scripted() as upstream:
        upstream.on("first", OPENAI["text"])
        yield upstream


def test_a_kill_between_two_tries(tmp_path: Path, up: Scripted) -> None:
    setup = Setup().endpoint("first", up.address, "openai_chat")
    key = create_key(tmp_path / "data", "team", "--budget-day", "1")

    def one(address: str, headers: dict[str, str]) -> Got:
        return ask(address, "first", key=key, headers=headers, max_tokens=99)

    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        answered = one(running.address, FINISHED)
        up.on("first", lambda seen: (Gate(), *OPENAI["text"](seen)))
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(one, running.address, UNFINISHED)
            up.wait_for("first", 2)
            running.kill()
            with pytest.raises((HTTPException, ConnectionError)):
                asking.result()
    up.on("first", OPENAI["text"])
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        replayed = one(running.address, FINISHED)
        anew = one(running.address, UNFINISHED)
        explained = running.command("explain", replayed.request_id)

    assert replayed.body == answered.body
    assert replayed.headers["x-fairlead-replayed"] == answered.request_id
    assert f"the answer to request {answered.request_id}, replayed" in explained
    assert (anew.status, "x-fairlead-replayed" in anew.headers) == (200, False)
    assert len(up.seen) == 3
    bases = [row.basis for row in Books(tmp_path / "data" / "fairlead.db").rows()]
    assert sorted(bases) == ["lease_expired_max", "provider_usage", "provider_usage"]
    assert json.loads(anew.body)["choices"] == json.loads(answered.body)["choices"]
