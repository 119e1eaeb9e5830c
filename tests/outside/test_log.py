"""The log: one line for each request, whatever is in it."""

import io
import os

import msgspec
import pytest

from facts import NOON_MS, attempted, exchanged, refused
from fairlead.outside import log
from fairlead.outside.log import Log
from fairlead.types.facts import Fact


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "WRITE_EVERY_S", 0.0)


def logged(*facts: Fact) -> bytes:
    stream = io.BytesIO()
    made = Log(stream)
    for fact in facts:
        made(fact)
    made.close()
    return stream.getvalue()


def test_an_answer() -> None:
    tries = (attempted(endpoint="o/o", failure="silent"), attempted())

    assert msgspec.json.decode(logged(exchanged(attempts=tries, workflow="w"))) == {
        "at": "2026-11-24T12:00:00Z",
        "level": "info",
        "request_id": "r1",
        "outcome": "ok",
        "status": 200,
        "caller": "team",
        "dialect": "openai_chat",
        "asked": "auto",
        "reason": "cheapest that can",
        "route": "auto",
        "task": "chat",
        "stream": True,
        "model": "small",
        "endpoint": "acme/small",
        "attempts": 2,
        "failures": ["o/o: silent"],
        "input_tokens": 10,
        "output_tokens": 50,
        "cost_nano_usd": 60,
        "first_token_ms": 101.0,
        "total_ms": 1101.0,
        "overhead_ms": 0.5,
        "workflow": "w",
    }


def test_a_refusal() -> None:
    assert msgspec.json.decode(logged(refused())) == {
        "at": "2026-11-24T12:00:00Z",
        "level": "warning",
        "request_id": "r2",
        "outcome": "refused",
        "status": 402,
        "caller": "team",
        "dialect": "openai_chat",
        "asked": "auto",
        "code": "budget_exhausted",
        "reason": "nothing left",
        "total_ms": 0.3,
    }


@pytest.mark.parametrize(
    ("outcome", "level"), [("ok", "info"), ("cancelled", "info"), ("failed", "error")]
)
def test_levels(outcome: str, level: str) -> None:
    line = msgspec.json.decode(logged(exchanged(outcome=outcome, attempts=())))

    assert line["level"] == level


def test_one_line_each_and_none_for_an_attempt() -> None:
    lines = logged(exchanged(), attempted(), refused(), exchanged()).splitlines()

    assert [msgspec.json.decode(line)["request_id"] for line in lines] == ["r1", "r2", "r1"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('a"}\r\n{"level":"error', id="line breaks"),
        pytest.param("\x1b[2J\x1b]0;title\x07", id="ANSI"),
        pytest.param("\x9b2J\x85\u2028\u2029", id="C1 and Unicode line breaks"),
        pytest.param("\udcff", id="no text"),
        pytest.param("\x00", id="NUL"),
        pytest.param("caf\u00e9", id="another script"),
    ],
)
def test_no_caller_can_break_a_line(text: str) -> None:
    content = logged(exchanged(asked=text, workflow=text, step=text), refused(message=text))

    assert content.count(b"\n") == 2
    for line in content.decode().split("\n")[:2]:
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)
        assert len(line.splitlines()) == 1
        assert msgspec.json.decode(line)["caller"] == "team"


def test_a_note() -> None:
    stream = io.BytesIO()
    made = Log(stream)
    made.note("warning", "the disk is full", NOON_MS)
    made.close()

    assert msgspec.json.decode(stream.getvalue()) == {
        "at": "2026-11-24T12:00:00Z",
        "level": "warning",
        "message": "the disk is full",
    }


def test_who_reads_too_slowly_loses_lines_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "MOST_LINES", 3)
    monkeypatch.setattr(log, "WRITE_EVERY_S", 60.0)
    stream = io.BytesIO()
    made = Log(stream)
    for _ in range(5):
        made(exchanged())
    made.close()

    assert made.lost == 2
    assert stream.getvalue().count(b"\n") == 3


def test_a_reader_that_is_gone_is_survived() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "wb", buffering=0) as stream:
        made = Log(stream)
        made(exchanged())
        made.close()

    assert made.lost == 1


def test_a_line_that_cannot_be_written_is_counted_and_the_next_one_is() -> None:
    stream = io.BytesIO()
    made = Log(stream)
    made(exchanged(reason="\udcff"))
    made(exchanged(request_id="r2"))
    made.close()

    assert made.lost == 1
    assert msgspec.json.decode(stream.getvalue())["request_id"] == "r2"
