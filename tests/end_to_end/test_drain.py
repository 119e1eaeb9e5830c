"""How a gateway stops: what runs may finish, what does not is told so, and all is on record."""

import http.client
import json
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest

from servers.canned import ANTHROPIC, OPENAI
from servers.gateway import Gateway, create_key, gateway
from servers.plain import CHAT, ask, request
from servers.scripted import Gate, Scripted, reply, scripted, stream
from servers.setup import Setup

MESSAGES = "/v1/messages"
CASES = {CHAT: OPENAI["text"], MESSAGES: ANTHROPIC["text"]}
MODELS = {CHAT: "small", MESSAGES: "claude"}
TERMINALS = {CHAT: b"[DONE]", MESSAGES: b"message_stop"}
CUT = ("failed", 503, "shutting_down")
MOST_S = 10.0
BOTH = pytest.mark.parametrize("path", [CHAT, MESSAGES])


@pytest.fixture
def up() -> Iterator[Scripted]:
    with scripted() as upstream:
        yield upstream


@pytest.fixture
def setup(up: Scripted) -> Setup:
    made = Setup().endpoint("small", up.address, "openai_chat")
    return made.endpoint("claude", up.address, "anthropic_messages")


class Client:
    """One connection: requests are sent and answers read when the test wants to."""

    def __init__(self, running: Gateway) -> None:
        at = urlsplit(running.address).netloc
        self.connection = http.client.HTTPConnection(at, timeout=MOST_S)
        self.connection.connect()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, path: str, **fields: Any) -> None:
        said = [{"role": "user", "content": "Hi."}]
        body = {"model": MODELS[path], "max_tokens": 99, "messages": said, **fields}
        headers = {"content-type": "application/json"}
        self.connection.request("POST", path, json.dumps(body), headers)

    def streaming(self, path: str) -> http.client.HTTPResponse:
        """Once the stream has begun."""
        self.ask(path, stream=True)
        return self.connection.getresponse()

    def closed(self) -> bool:
        """Whether the gateway closes the connection without a word."""
        with suppress(ConnectionError):
            return self.connection.sock.recv(1) == b""
        return True


def stops(running: Gateway) -> None:
    """Returns once no new connection is taken."""
    until_s = monotonic() + MOST_S
    with suppress(ConnectionError, http.client.HTTPException):
        while monotonic() < until_s:
            request("GET", f"{running.address}/healthz")


def broken(response: http.client.HTTPResponse) -> bytes:
    """What came of an answer that breaks off."""
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    return cut.value.partial


def error(body: bytes) -> Mapping[str, Any]:
    """Of a whole answer, or of the last event of a stream."""
    lines = [line for line in body.decode().split("\n") if line.startswith(("data: ", "{"))]
    found: Mapping[str, Any] = json.loads(lines[-1].removeprefix("data: "))["error"]
    return found


def on_record(running: Gateway) -> list[tuple[str, int, str]]:
    lines = running.command("logs", "--json", "-n", "99").splitlines()
    return [(row["outcome"], row["status"], row["code"]) for row in map(json.loads, lines)]


def settled(running: Gateway) -> list[tuple[str | None]]:
    """What each attempt was settled by."""
    with closing(sqlite3.connect(running.data / "fairlead.db")) as database:
        query = "SELECT basis FROM intent LEFT JOIN settle USING (attempt_id)"
        return database.execute(query).fetchall()


@BOTH
def test_a_stream_finishes_in_the_window(
    tmp_path: Path, setup: Setup, up: Scripted, path: str
) -> None:
    gate, frames = Gate(), CASES[path].frames
    up.on(MODELS[path], stream(*frames[:4], gate, *frames[4:]))
    with gateway(tmp_path, setup.text(), setup.secrets) as running, Client(running) as client:
        response = client.streaming(path)
        began = response.read1()
        running.process.terminate()
        stops(running)
        gate.open()

        assert TERMINALS[path] in began + response.read()
        assert client.closed()
        assert running.process.wait(MOST_S) == 0
    assert on_record(running) == [("ok", 200, "")]
    assert settled(running) == [("provider_usage",)]


@BOTH
def test_a_stream_that_outlasts_it_is_told_so(
    tmp_path: Path, setup: Setup, up: Scripted, path: str
) -> None:
    up.on(MODELS[path], stream(*CASES[path].frames[:4], Gate()))
    config = setup.text(drain="200ms")
    with gateway(tmp_path, config, setup.secrets) as running, Client(running) as client:
        response = client.streaming(path)
        began = response.read1()
        running.process.terminate()
        came = began + broken(response)

        assert TERMINALS[path] not in came
        assert "shuts down" in error(came)["message"]
        if path == CHAT:
            assert error(came)["code"] == "shutting_down"
        assert running.process.wait(MOST_S) == 0
        up.asked(MODELS[path])[0].left.wait()
    assert on_record(running) == [CUT]
    assert settled(running) == [("partial_estimate",)]


@BOTH
def test_a_whole_answer_finishes_in_the_window(
    tmp_path: Path, setup: Setup, up: Scripted, path: str
) -> None:
    gate = Gate()
    up.on(MODELS[path], (gate, *reply(CASES[path].whole)))
    with gateway(tmp_path, setup.text(), setup.secrets) as running, Client(running) as client:
        client.ask(path)
        up.wait_for(MODELS[path])
        running.process.terminate()
        stops(running)
        gate.open()
        response = client.connection.getresponse()

        assert (response.status, response.headers["connection"]) == (200, "close")
        assert json.loads(response.read())
        assert running.process.wait(MOST_S) == 0
    assert on_record(running) == [("ok", 200, "")]
    assert settled(running) == [("provider_usage",)]


@BOTH
@pytest.mark.parametrize("streamed", [False, True])
def test_what_has_not_begun_by_then_is_an_ordinary_error(
    tmp_path: Path, setup: Setup, up: Scripted, path: str, streamed: bool
) -> None:
    up.on(MODELS[path], (Gate(),))
    config = setup.text(drain="200ms")
    with gateway(tmp_path, config, setup.secrets) as running, Client(running) as client:
        client.ask(path, stream=streamed)
        up.wait_for(MODELS[path])
        running.process.terminate()
        response = client.connection.getresponse()

        assert (response.status, response.headers["connection"]) == (503, "close")
        assert (response.headers["retry-after"], response.headers["x-should-retry"]) == (
            "1",
            "true",
        )
        assert "shuts down" in error(response.read())["message"]
        assert running.process.wait(MOST_S) == 0
    assert on_record(running) == [CUT]
    assert settled(running) == [("partial_estimate",)]


def test_a_body_still_on_its_way_is_answered(tmp_path: Path, setup: Setup, up: Scripted) -> None:
    up.on("small", OPENAI["text"])
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "Hi."}]}).encode()
    with gateway(tmp_path, setup.text(), setup.secrets) as running, Client(running) as client:
        client.connection.putrequest("POST", CHAT)
        client.connection.putheader("content-length", str(len(body)))
        client.connection.endheaders(body[:9])
        running.output.wait_for("Try it")
        running.process.terminate()
        stops(running)
        client.connection.send(body[9:])
        response = client.connection.getresponse()

        assert (response.status, response.headers["connection"]) == (200, "close")
        response.read()
        assert running.process.wait(MOST_S) == 0
    assert settled(running) == [("provider_usage",)]


def test_connections_without_a_request_are_closed_at_once(
    tmp_path: Path, setup: Setup, up: Scripted
) -> None:
    up.on("small", OPENAI["text"])
    up.on("claude", stream(*CASES[MESSAGES].frames[:4], Gate()))
    with (
        gateway(tmp_path, setup.text(drain="5s"), setup.secrets) as running,
        Client(running) as used,
        Client(running) as fresh,
        Client(running) as busy,
    ):
        used.ask(CHAT)
        assert used.connection.getresponse().read()
        assert busy.streaming(MESSAGES).read1()
        running.process.terminate()

        assert used.closed()
        assert fresh.closed()
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(MOST_S) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_at_once(
    tmp_path: Path, setup: Setup, up: Scripted, second: signal.Signals
) -> None:
    up.on("small", stream(*CASES[CHAT].frames[:4], Gate()))
    with gateway(tmp_path, setup.text(drain="1h"), setup.secrets) as running, Client(running) as c:
        response = c.streaming(CHAT)
        began = response.read1()
        running.process.terminate()
        stops(running)
        running.process.send_signal(second)

        assert error(began + broken(response))["code"] == "shutting_down"
        assert running.process.wait(MOST_S) == 0
    assert on_record(running) == [CUT]
    assert settled(running) == [("partial_estimate",)]


def test_a_key_revoked_while_it_drains_opens_nothing(
    tmp_path: Path, setup: Setup, up: Scripted
) -> None:
    up.on("small", OPENAI["text"])
    keys = [create_key(tmp_path / "data", name) for name in ("kept", "revoked")]
    with gateway(tmp_path, setup.text(drain_delay="1h"), setup.secrets) as running:
        running.process.terminate()
        running.command("keys", "revoke", "revoked")
        until_s = monotonic() + MOST_S
        while ask(running.address, "small", key=keys[1]).status != 401:
            assert monotonic() < until_s

        assert ask(running.address, "small", key=keys[0]).status == 200
        running.process.terminate()
        assert running.process.wait(MOST_S) == 0


def test_for_a_delay_it_is_not_ready_and_takes_requests_all_the_same(
    tmp_path: Path, setup: Setup, up: Scripted
) -> None:
    up.on("small", OPENAI["text"])
    config = setup.text(drain_delay="1h")
    with gateway(tmp_path, config, setup.secrets) as running, Client(running) as client:
        running.process.terminate()
        until_s = monotonic() + MOST_S
        while request("GET", f"{running.address}/readyz").status != 503:
            assert monotonic() < until_s
        client.ask(CHAT)
        kept = client.connection.getresponse()
        assert (kept.status, kept.headers["connection"]) == (200, "close")
        assert ask(running.address, "small").status == 200

        running.process.terminate()
        assert running.process.wait(MOST_S) == 0
    assert on_record(running) == [("ok", 200, "")] * 2
