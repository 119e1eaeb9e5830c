"""Who judges refusals: whatever one may lack, or should not have been, is counted."""

import json
from typing import Any

import pytest
from prove.refused import Answer, Refused, answers
from prove.torture import CHAT, MESSAGES, Asked

FIELDS = {
    "x-fairlead-request-id": "r1",
    "x-request-id": "r1",
    "x-should-retry": "false",
}
ERROR: dict[str, Any] = {"message": "No.", "type": "invalid_request_error", "param": None}
BODY: dict[str, Any] = {"error": {**ERROR, "code": None}}


def refusal(status: int = 400, body: object = BODY, **fields: str | None) -> Answer:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    told = {name: value for name, value in {**FIELDS, **named}.items() if value is not None}
    return Answer(status, told, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [
        (refusal(), []),
        (refusal(body={"error": {**BODY["error"], "type": None}}), ["type"]),
        (refusal(body={"error": {**BODY["error"], "message": ""}}), ["message"]),
        (refusal(body=[]), ["type", "message"]),
        (refusal(x_request_id="r2"), ["request id"]),
        (refusal(x_request_id=None, request_id="r1"), []),
        (refusal(x_fairlead_request_id=None), ["request id"]),
        (refusal(x_should_retry="perhaps"), ["x-should-retry"]),
    ],
)
def test_what_a_refusal_lacks(answer: Answer, lacks: list[str]) -> None:
    assert answer.lacks == lacks


def test_a_refusal_in_another_dialect_than_was_spoken() -> None:
    anthropic = refusal(body={"type": "error", "error": ERROR, "request_id": "r1"})

    assert (refusal().is_in(False), refusal().is_in(True)) == (True, False)
    assert (anthropic.is_in(False), anthropic.is_in(True)) == (False, True)
    assert not refusal(body={"error": ERROR}).is_in(False)


def test_answers_on_one_connection_are_taken_apart_and_the_last_may_be_cut() -> None:
    head = b"HTTP/1.1 %d No\r\nContent-Length: 4\r\n\r\n"
    whole, half = answers(head % 400 + b"abcd" + head % 503 + b"ef")

    assert (whole.status, whole.body, whole.ended) == (400, b"abcd", True)
    assert (half.status, half.body, half.ended) == (503, b"ef", False)


ODD = Asked("odd", CHAT.encode())
HURRIED = Asked("odd", CHAT.encode(), fields=(b"x-fairlead-deadline: 1ms",))
KEYLESS = Asked("odd", CHAT.encode(), allowed=False)
SOUND = Asked("sound", CHAT.encode())
SERVED = refusal(200)


@pytest.mark.parametrize(
    ("asked", "answer", "counted"),
    [
        (ODD, refusal(), {}),
        (ODD, SERVED, {}),
        (ODD, None, {"unanswered": 1}),
        (ODD, Answer(400, FIELDS, b"{", ended=False), {"unanswered": 1}),
        (ODD, refusal(500), {"ours": 1}),
        (ODD, refusal(504), {"ours": 1}),
        (HURRIED, refusal(504), {}),
        (HURRIED, refusal(503), {"ours": 1}),
        (ODD, refusal(x_injected="1"), {"injected": 1}),
        (ODD, refusal(x_should_retry=None), {"incomplete": 1}),
        (Asked("odd", MESSAGES.encode()), refusal(), {"incomplete": 1}),
        (KEYLESS, refusal(401), {}),
        (KEYLESS, SERVED, {"let_in": 1}),
        (SOUND, SERVED, {}),
        (SOUND, refusal(429), {"sound_refused": 1}),
    ],
)
def test_what_became_of_a_request(
    asked: Asked, answer: Answer | None, counted: dict[str, int]
) -> None:
    found = Refused()
    found.add(asked, answer)
    counts = {
        "unanswered": found.unanswered,
        "ours": found.ours,
        "injected": found.injected,
        "incomplete": found.incomplete.total(),
        "let_in": found.let_in,
        "sound_refused": found.sound_refused,
    }

    assert {name: count for name, count in counts.items() if count} == counted
