"""An error in the middle of a stream: what a program can read of it, in every dialect."""

from typing import Any

import msgspec
import pytest

from facts import attempted
from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Reply
from fairlead.types.chat import Request
from fairlead.types.errors import Failure, GatewayError, Overloaded, ShuttingDown, UpstreamError

REPLY = Reply("r1", 1_700_000_000, "small")
ATTEMPT = attempted(id="a1", failure="stream_broken")
FILTERED = UpstreamError(
    Failure.CONTENT_FILTER, "No.", attempts=(ATTEMPT,), delivered_chars=7, quoted=True
)
BROKEN = UpstreamError(Failure.STREAM_BROKEN, "No.", attempts=(ATTEMPT,), delivered_chars=7)
IN_A_CALL = UpstreamError(Failure.STREAM_BROKEN, "No.", attempts=(ATTEMPT,))
CASES: list[tuple[GatewayError, tuple[str, str], dict[str, Any]]] = [
    (
        BROKEN,
        ("server_error", "api_error"),
        {"code": "upstream_stream_broken", "should_retry": True, "delivered_chars": 7},
    ),
    (
        IN_A_CALL,
        ("server_error", "api_error"),
        {"code": "upstream_stream_broken", "should_retry": True},
    ),
    (
        FILTERED,
        ("invalid_request_error", "invalid_request_error"),
        {"code": "content_filter", "should_retry": False, "delivered_chars": 7},
    ),
    (
        ShuttingDown("No.", attempts=(ATTEMPT,)),
        ("server_error", "overloaded_error"),
        {"code": "shutting_down", "should_retry": True},
    ),
    (
        Overloaded("No.", attempts=(ATTEMPT,)),
        ("server_error", "overloaded_error"),
        {"code": "overloaded", "should_retry": True},
    ),
]


def told(dialect: str, error: GatewayError) -> Any:
    asked = Request(dialect, "m", b"", stream=True)
    frame = DIALECTS[dialect].encoder(asked, REPLY).error(error)
    named = b"event: error\n" if dialect == "anthropic_messages" else b""
    assert frame.startswith(named + b"data: ")
    assert frame.endswith(b"}\n\n")
    assert frame.count(b"\n") == (3 if named else 2)
    return msgspec.json.decode(frame.removeprefix(named + b"data: "))


@pytest.mark.parametrize(("error", "types", "read"), CASES, ids=lambda value: str(value)[:24])
def test_openais(error: GatewayError, types: tuple[str, str], read: dict[str, Any]) -> None:
    assert told("openai_chat", error) == {
        "error": {
            "message": "No.",
            "type": types[0],
            "param": None,
            "request_id": "r1",
            "attempts": ["a1"],
            **read,
        }
    }


@pytest.mark.parametrize(("error", "types", "read"), CASES, ids=lambda value: str(value)[:24])
def test_anthropics(error: GatewayError, types: tuple[str, str], read: dict[str, Any]) -> None:
    assert told("anthropic_messages", error) == {
        "type": "error",
        "error": {
            "type": types[1],
            "message": "No.",
            "details": {"error_code": read["code"]},
            "attempts": ["a1"],
            **read,
        },
        "request_id": "r1",
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_is_in_an_error_that_is_the_whole_answer(dialect: str) -> None:
    body = msgspec.json.decode(DIALECTS[dialect].render_error(Overloaded("No."), "r1"))

    assert (body["error"]["code"], body["error"]["should_retry"]) == ("overloaded", True)
    assert "attempts" not in body["error"]
