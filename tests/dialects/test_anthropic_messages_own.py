"""Anthropic requests for Anthropic endpoints: what changes in them, and that nothing else does."""

from typing import Any

import msgspec
import pytest

from dialects.anthropic_cases import CALL, GOLDEN, JSON, RESULT, SAID, USER, endpoint, own, turn
from fairlead.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from fairlead.dialects.anthropic_messages_wire import UNSIGNED
from fairlead.types.chat import Narrowing, Request

PLAIN = endpoint()


@pytest.mark.parametrize("case", GOLDEN.cases("request"))
def test_nothing_to_change_gives_the_same_bytes(case: str) -> None:
    request = own(GOLDEN.wire(case), GOLDEN.neutral(case).get("headers", {}))
    request = msgspec.structs.replace(request, narrowing=Narrowing())
    rendered = ANTHROPIC_MESSAGES.render_request(request, endpoint(model=request.model), None)

    assert rendered.path == "/messages"
    assert rendered.body is request.body
    assert rendered.headers == JSON


def test_the_callers_version_and_betas_go_on() -> None:
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "a,b"}
    request = own(GOLDEN.wire("request_text"), headers)

    assert ANTHROPIC_MESSAGES.render_request(request, PLAIN, None).headers == {**JSON, **headers}


MESSAGES = rb'[ {"role": "user", "content": "\u00e9", "odd": 1.50 } ]'
AUTO, MODEL = b'"model":"auto"', b'"model":"upstream-model"'
CUT = ("thinking.budget_tokens",)


@pytest.mark.parametrize(
    ("before", "cap", "after", "dropped"),
    [
        pytest.param(b'"max_tokens":80', None, b'"max_tokens":80', (), id="model"),
        pytest.param(b'"max_tokens":80', 50, b'"max_tokens":50', (), id="cap"),
        pytest.param(b'"max_tokens":20', 50, b'"max_tokens":20', (), id="a cap never raises"),
        pytest.param(b'"max_tokens":0', 50, b'"max_tokens":0', (), id="not even nothing"),
        pytest.param(
            b'"max_tokens":80,"metadata":{"fairlead.zone":"eu"}',
            None,
            b'"max_tokens":80',
            (),
            id="our metadata alone",
        ),
        pytest.param(
            rb'"max_tokens":80,"metadata":{"fair\u006cead.zone":"eu","user_id":"u"}',
            None,
            b'"max_tokens":80,"metadata":{"user_id":"u"}',
            (),
            id="our metadata among others",
        ),
        pytest.param(
            b'"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":2000}',
            4000,
            b'"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000}',
            (),
            id="a budget to think that has room",
        ),
        pytest.param(
            b'"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":4000,"odd":1.50}',
            4000,
            b'"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000,"odd":1.50}',
            CUT,
            id="a budget to think that has less",
        ),
        pytest.param(
            b'"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000}',
            2047,
            b'"max_tokens":2047',
            CUT,
            id="a budget to think that has none",
        ),
        pytest.param(
            b'"max_tokens":9000,"thinking":{"type":"adaptive"}',
            50,
            b'"max_tokens":50,"thinking":{"type":"adaptive"}',
            (),
            id="no budget",
        ),
    ],
)
def test_only_what_must_change_changes(
    before: bytes, cap: int | None, after: bytes, dropped: tuple[str, ...]
) -> None:
    rest = b',"messages":' + MESSAGES + b',"zzz":{ }}'
    request = own(b"{" + AUTO + b"," + before + rest)
    rendered = ANTHROPIC_MESSAGES.render_request(request, PLAIN, cap)

    assert rendered.body == b"{" + MODEL + b"," + after + rest
    assert rendered.dropped == dropped


def test_a_cap_that_is_kept_anyway_changes_nothing() -> None:
    request = own(b"{" + MODEL + b', "max_tokens": 20, "messages":' + MESSAGES + b"}")

    assert ANTHROPIC_MESSAGES.render_request(request, PLAIN, 20).body is request.body


# Thoughts that the endpoint did not sign.

SIGNED = {"type": "thinking", "thinking": "So.", "signature": "c2ln"}
MARKED = {"type": "thinking", "thinking": "Hm.", "signature": UNSIGNED}
BARE = {"type": "thinking", "thinking": "Hm.", "signature": ""}
REDACTED = {"type": "redacted_thinking", "data": "x"}
ENABLED = {"type": "enabled", "budget_tokens": 2000}


def conversation(*messages: Any, **fields: Any) -> Request:
    whole = {"model": "upstream-model", "max_tokens": 9000, "messages": [*messages], **fields}
    return own(msgspec.json.encode(whole))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([USER, turn("assistant", MARKED, SAID)], [USER, turn("assistant", SAID)]),
        ([USER, turn("assistant", BARE, SAID)], [USER, turn("assistant", SAID)]),
        (
            [USER, turn("assistant", SIGNED, REDACTED, MARKED, SAID), USER],
            [USER, turn("assistant", SIGNED, REDACTED, SAID), USER],
        ),
        ([USER, turn("assistant", MARKED), USER], [USER, USER]),
    ],
    ids=["marked", "without a signature", "among others", "alone"],
)
def test_thoughts_that_nobody_signed_are_left_out(before: Any, after: Any) -> None:
    rendered = ANTHROPIC_MESSAGES.render_request(conversation(*before), PLAIN, None)

    assert msgspec.json.decode(rendered.body)["messages"] == after
    assert rendered.dropped == ("reasoning",)


def test_open_models_take_them() -> None:
    request = conversation(USER, turn("assistant", MARKED, SAID))

    assert (
        ANTHROPIC_MESSAGES.render_request(request, endpoint(open_weights=True), None).body
        is request.body
    )


@pytest.mark.parametrize(
    ("thinking", "last", "dropped"),
    [
        (ENABLED, turn("user", RESULT), ("reasoning", "thinking")),
        (ENABLED, USER, ("reasoning",)),
        ({"type": "adaptive"}, turn("user", RESULT), ("reasoning",)),
        (None, turn("user", RESULT), ("reasoning",)),
    ],
    ids=["within a budget", "a new turn", "adaptive", "not thinking"],
)
def test_a_turn_that_lost_its_thoughts_does_not_go_on_thinking(
    thinking: Any, last: Any, dropped: tuple[str, ...]
) -> None:
    request = conversation(USER, turn("assistant", MARKED, CALL), last, thinking=thinking)
    rendered = ANTHROPIC_MESSAGES.render_request(request, PLAIN, None)

    assert rendered.dropped == dropped
    assert msgspec.json.decode(rendered.body).get("thinking") == (
        None if "thinking" in dropped else thinking
    )
