"""What is answered unread: one whole request for a model, and nothing that could be another."""

from collections.abc import Mapping

import msgspec
import pytest

from fairlead.server.shed import answer_unparsed
from servers.hostile import ASK, CASES, CHAT, CHUNKED, LENGTH, asking, get, post, smuggling

ANTHROPIC = b"POST /v1/messages?beta=true HTTP/1.1"

WHOLE: Mapping[str, bytes] = {
    "a request": asking(),
    "a request in capitals": post(LENGTH.upper(), body=ASK),
    "a request of Anthropic's": asking(line=ANTHROPIC),
    "a request without a body": post(b"content-length: 0"),
    "a request with a long body": post(b"content-length: 200000", body=b"x" * 200_000),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_request_is_answered(case: str) -> None:
    answer = answer_unparsed(WHOLE[case])

    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert (fields["retry-after"], fields["x-should-retry"]) == ("1", "true")
    assert int(fields["content-length"]) == len(body)
    told = msgspec.json.decode(body)
    assert told["request_id" if "type" in told else "error"]
    assert fields["x-fairlead-request-id"] in body.decode()


def test_each_answer_has_its_own_id() -> None:
    assert answer_unparsed(asking()) != answer_unparsed(asking())


def test_an_answer_speaks_the_dialect_that_was_asked_in() -> None:
    answer = answer_unparsed(asking(line=ANTHROPIC))

    assert answer is not None
    assert b'"type":"overloaded_error"' in answer


OTHERWISE: Mapping[str, bytes] = {
    "nothing": b"",
    "half a head": CHAT + b"\r\nhost: x\r\n",
    "a body that is still to come": asking()[:-1],
    "more than a request": asking() + b"P",
    "two requests": asking() + asking(),
    "no length": post(body=ASK),
    "chunks": post(CHUNKED, body=b"0\r\n\r\n"),
    "a length and chunks": post(b"content-length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "two lengths": post(LENGTH, LENGTH, body=ASK),
    "a second length in disguise": asking(b"x: y\ncontent-length: 0"),
    "a length that is no number": post(b"content-length: +61", body=ASK),
    "a length without end": post(b"content-length: " + b"0" * 5000 + b"61", body=ASK),
    "another method": asking(line=CHAT.replace(b"POST", b"PUT")),
    "another address": asking(line=b"POST /v1/route HTTP/1.1"),
    "an address in disguise": asking(line=CHAT.replace(b"chat", b"ch%61t")),
    "a question about health": get(b"/healthz", b"content-length: 0"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_all_else_has_to_be_parsed(case: str) -> None:
    assert answer_unparsed(OTHERWISE[case]) is None


@pytest.mark.parametrize("case", CASES)
def test_what_may_hold_two_requests_is_never_answered_unread(case: str) -> None:
    for piece in CASES[case].pieces:
        assert answer_unparsed(piece) is None


def test_nor_is_any_disguise() -> None:
    assert {answer_unparsed(case.pieces[0]) for case in smuggling()} == {None}
