"""One process takes over from another: nobody is cut off, and there is one account of the money."""

import http.client
import json
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from servers.canned import OPENAI
from servers.doorway import doorway
from servers.gateway import (
    PROGRAM,
    TAKE_OVER,
    Gateway,
    create_key,
    environment,
    fairlead,
    gateway,
)
from servers.plain import CHAT, ask, request, streaming
from servers.scripted import Gate, Scripted, reply, stream
from servers.setup import Setup

FRAMES = OPENAI["text"].frames
MOST_S = 10.0


class Processes:
    """One after the other on the same folder, each in the place of the one before."""

    def __init__(self, folder: Path, setup: Setup, stack: ExitStack) -> None:
        self.folder, self.setup, self.stack = folder, setup, stack

    def start(self, *words: str) -> Gateway:
        config, secrets = self.setup.text(), self.setup.secrets
        return self.stack.enter_context(gateway(self.folder, config, secrets, words))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "data" / "fairlead.db")) as connection:
            return connection.execute(sql).fetchall()

    def bases(self) -> list[str]:
        return sorted(basis for (basis,) in self.rows("SELECT basis FROM settle"))

    def balanced(self) -> None:
        """Every attempt is settled, once, and the balance is their sum."""
        left = "SELECT attempt_id FROM intent LEFT JOIN settle USING (attempt_id)"
        assert self.rows(f"{left} WHERE settle.attempt_id IS NULL") == []
        (charged,) = self.rows("SELECT sum(nano) FROM settle")
        spent = self.rows("SELECT sum(nano) FROM spend WHERE \"window\" LIKE 'day:%'")
        assert spent == [charged]


@pytest.fixture
def processes(tmp_path: Path, setup: Setup) -> Iterator[Processes]:
    with ExitStack() as stack:
        yield Processes(tmp_path, setup, stack)


def until(condition: Any) -> None:
    until_s = monotonic() + MOST_S
    while not condition():
        assert monotonic() < until_s


def body(model: str = "small") -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi."}]})


def test_a_stream_and_an_open_connection_outlive_their_process_place(
    processes: Processes, up: Scripted
) -> None:
    gate = Gate()
    up.on("small", stream(*FRAMES[:4], gate, *FRAMES[4:]), OPENAI["text"])
    old = processes.start()
    kept = http.client.HTTPConnection(old.address.removeprefix("http://"), timeout=MOST_S)
    kept.connect()
    with streaming(old.address, "small") as running, closing(kept):
        began = running.read1()
        new = processes.start(TAKE_OVER)
        old.output.wait_for("another process has taken over")

        assert new.address == old.address
        assert f"from process {old.process.pid}" in new.output.wait_for("(?s).*Try it:")[0]
        assert ask(new.address, "small").status == 200
        assert request("GET", f"{new.address}/readyz").status == 200
        kept.request("POST", CHAT, body(), {"content-type": "application/json"})
        with kept.getresponse() as answer:
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert answer.read()
        assert old.process.poll() is None
        gate.open()
        assert (began + running.read()).endswith(b"data: [DONE]\n\n")
    assert old.process.wait(MOST_S) == 0
    assert ask(new.address, "small").status == 200
    processes.balanced()
    assert processes.bases() == ["provider_usage"] * 4
    until(lambda: not list(new.data.glob("draining-*")))


def test_where_nobody_serves_it_just_starts(processes: Processes) -> None:
    first = processes.start(TAKE_OVER)
    assert ask(first.address, "small").status == 200
    first.kill()

    second = processes.start(TAKE_OVER)
    assert ask(second.address, "small").status == 200


def test_without_the_option_a_folder_has_one_process(processes: Processes) -> None:
    first = processes.start()

    with pytest.raises(AssertionError, match=f"serve {TAKE_OVER}"):
        fairlead("serve", "--data", str(first.data), "--listen", "127.0.0.1:0")

    assert ask(first.address, "small").status == 200


def test_one_that_cannot_start_takes_nothing(processes: Processes) -> None:
    first = processes.start()

    words = ("serve", TAKE_OVER, "--data", str(first.data), "--listen", "0.0.0.0:0")
    with pytest.raises(AssertionError, match="keys create"):
        fairlead(*words)

    assert ask(first.address, "small").status == 200
    assert first.process.poll() is None


def test_there_is_one_budget(processes: Processes, up: Scripted) -> None:
    """What the old one has reserved, the new one cannot spend; what the old one still has to try,
    it asks the new one for."""
    gate = Gate()
    up.on("small", (gate, *reply({"error": {"message": "no"}}, status=500)), OPENAI["text"])
    key = create_key(processes.folder / "data", "team", "--budget-day", "0.04")
    old = processes.start()
    connection = http.client.HTTPConnection(old.address.removeprefix("http://"), timeout=MOST_S)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    with closing(connection):
        connection.request("POST", CHAT, body(), headers)
        up.wait_for("small")
        new = processes.start(TAKE_OVER)
        old.output.wait_for("another process has taken over")

        capped = ask(new.address, "small", key=key)
        assert capped.headers["x-fairlead-max-output-tokens"]
        reserved = [amount for (amount,) in processes.rows("SELECT reserved_nano FROM intent")]
        assert 30_000_000 < sum(reserved) <= 40_000_000
        gate.open()
        with connection.getresponse() as answer:
            assert answer.status == 200, answer.read()
            answer.read()

    assert len(up.seen) == 3
    assert old.process.wait(MOST_S) == 0
    processes.balanced()


def test_limits_by_the_minute_go_on(processes: Processes) -> None:
    key = create_key(processes.folder / "data", "team", "--requests-per-minute", "2")
    old = processes.start()
    assert ask(old.address, "small", key=key).status == 200
    new = processes.start(TAKE_OVER)

    assert [ask(new.address, "small", key=key).status for _ in range(2)] == [200, 429]


def test_an_answer_under_way_is_not_given_twice(processes: Processes, up: Scripted) -> None:
    gate = Gate()
    up.on("small", (gate, *reply(OPENAI["text"].whole)))
    once = {"content-type": "application/json", "idempotency-key": "order-7"}
    old = processes.start()
    connection = http.client.HTTPConnection(old.address.removeprefix("http://"), timeout=MOST_S)
    with closing(connection):
        connection.request("POST", CHAT, body(), once)
        up.wait_for("small")
        new = processes.start(TAKE_OVER)
        assert request("POST", new.address + CHAT, body().encode(), once).status == 409
        gate.open()
        with connection.getresponse() as answer:
            told = answer.read()

    until(lambda: request("POST", new.address + CHAT, body().encode(), once).status == 200)
    again = request("POST", new.address + CHAT, body().encode(), once)
    assert (again.body, len(up.seen)) == (told, 1)
    assert again.headers["x-fairlead-replayed"] == answer.headers["x-fairlead-request-id"]


def test_killed_while_it_finishes_it_is_settled_by_the_new_one(
    processes: Processes, up: Scripted
) -> None:
    up.on("small", stream(*FRAMES[:4], Gate()))
    key = create_key(processes.folder / "data", "team", "--budget-day", "9")
    old = processes.start()
    with streaming(old.address, "small", key) as running:
        assert running.read1()
        new = processes.start(TAKE_OVER)
        old.output.wait_for("another process has taken over")
        assert processes.bases() == []
        old.kill()

        new.output.wait_for("was finishing its requests died; settled in full: 1")
    assert processes.bases() == ["lease_expired_max"]
    processes.balanced()


def test_the_new_one_killed_the_next_start_leaves_the_old_one_its_attempts(
    processes: Processes, up: Scripted
) -> None:
    gate = Gate()
    up.on("small", stream(*FRAMES[:4], gate, *FRAMES[4:]), stream(*FRAMES[:4], Gate()))
    key = create_key(processes.folder / "data", "team", "--budget-day", "9")
    old = processes.start()
    with streaming(old.address, "small", key) as running:
        began = running.read1()
        second = processes.start(TAKE_OVER)
        old.output.wait_for("another process has taken over")
        with streaming(second.address, "small", key) as lost:
            assert lost.read1()
            second.kill()
            third = processes.start()
        assert "1 attempt of a killed process" in third.output.wait_for("(?s).*Try it:")[0]
        gate.open()
        assert (began + running.read()).endswith(b"data: [DONE]\n\n")
    assert old.process.wait(MOST_S) == 0
    until(lambda: not list(third.data.glob("draining-*")))
    assert processes.bases() == ["lease_expired_max", "provider_usage"]
    processes.balanced()


@pytest.mark.parametrize("word", ["Offer", "Ready", "Yours", "Serving"])
def test_the_old_one_killed_in_the_middle_of_it_the_new_one_serves(
    processes: Processes, up: Scripted, word: str
) -> None:
    up.on("small", stream(*FRAMES[:4], Gate()), OPENAI["text"])
    key = create_key(processes.folder / "data", "team", "--budget-day", "9")
    old = processes.start()
    with (
        streaming(old.address, "small", key) as running,
        doorway(old.data / "handover.sock", word, "old") as between,
    ):
        assert running.read1()
        new = processes.start(TAKE_OVER)
    assert (between.said[-1], old.process.wait(MOST_S)) == (word, -signal.SIGKILL)

    assert new.address == old.address
    assert ask(new.address, "small", key=key).status == 200
    until(lambda: processes.bases() == ["lease_expired_max", "provider_usage"])
    until(lambda: not list(new.data.glob("draining-*")))
    processes.balanced()


@pytest.mark.parametrize("word", ["TakeOver", "Offer", "Ready", "Yours"])
def test_the_new_one_killed_in_the_middle_of_it_the_old_one_serves(
    processes: Processes, up: Scripted, word: str
) -> None:
    gate = Gate()
    up.on("small", stream(*FRAMES[:4], gate, *FRAMES[4:]), OPENAI["text"])
    key = create_key(processes.folder / "data", "team", "--budget-day", "9")
    old = processes.start()
    with streaming(old.address, "small", key) as running:
        began = running.read1()
        with (
            doorway(old.data / "handover.sock", word, "new") as between,
            pytest.raises(AssertionError, match="did not print"),
        ):
            processes.start(TAKE_OVER)
        assert between.said[-1] == word
        until(lambda: not list(old.data.glob("draining-*")))
        assert ask(old.address, "small", key=key).status == 200
        gate.open()
        assert (began + running.read()).endswith(b"data: [DONE]\n\n")
    processes.balanced()
    assert processes.bases() == ["provider_usage"] * 2


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_one_that_waits_for_the_other_can_be_stopped(tmp_path: Path, told: signal.Signals) -> None:
    words = ("serve", TAKE_OVER, "--data", str(tmp_path), "--listen", "127.0.0.1:0")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.settimeout(MOST_S)
        mute.bind(str(tmp_path / "handover.sock"))
        mute.listen()
        with subprocess.Popen(
            [str(PROGRAM), *words], stdout=subprocess.PIPE, env=environment({}), text=True
        ) as process:
            knocked, _ = mute.accept()
            with knocked:
                process.send_signal(told)
                said, _ = process.communicate(timeout=MOST_S)

    assert (said, process.returncode) == ("stopped before it served\n", 0)


def test_one_that_stops_can_be_followed(processes: Processes, up: Scripted) -> None:
    gate = Gate()
    up.on("small", stream(*FRAMES[:4], gate, *FRAMES[4:]), OPENAI["text"])
    old = processes.start()
    with streaming(old.address, "small") as running:
        began = running.read1()
        old.process.send_signal(signal.SIGTERM)
        old.output.wait_for("stopping once 1 request has ended")
        new = processes.start(TAKE_OVER)

        assert ask(new.address, "small").status == 200
        gate.open()
        assert (began + running.read()).endswith(b"data: [DONE]\n\n")
    assert old.process.wait(MOST_S) == 0
    processes.balanced()
    assert processes.bases() == ["provider_usage"] * 2
