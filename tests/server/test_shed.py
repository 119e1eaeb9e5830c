"""What is answered unread: one whole request for a model, and nothing that could be another."""

from collections.abc import Mapping

import msgspec
import pytest

from fairlead.server.shed import answer_unparsed
from servers.hostile import ASK, CASES, CHAT, CHUNKED, LENGTH, asking, get, post, smuggling

ANTHROPIC = b"POST /v1/messages?beta=true HTTP/1.1"

MOST = 300_000
WHOLE: Mapping[str, bytes] = {
    "a request": asking(),
    "a request in capitals": post(LENGTH.upper(), body=ASK),
    "a request of Anthropic's": asking(line=ANTHROPIC),
    "a request without a body": post(b"content-length: 0"),
    "a request with a long body": post(b"content-length: 200000", body=b"x" * 200_000),
}


def answered(data: bytes) -> tuple[bytes, int]:
    found = answer_unparsed(data, MOST)
    assert found is not None
    return found


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_request_is_answered(case: str) -> None:
    answer, rest = answered(WHOLE[case])

    assert rest == 0
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
    assert answered(asking()) != answered(asking())


def test_an_answer_speaks_the_dialect_that_was_asked_in() -> None:
    answer, _ = answered(asking(line=ANTHROPIC))

    assert b'"type":"overloaded_error"' in answer


OTHERWISE: Mapping[str, bytes] = {
    "nothing": b"",
    "half a head": CHAT + b"\r\nhost: x\r\n",
    "a body that is longer than may be": post(b"content-length: 300001", body=ASK),
    "somebody who waits for us to close": asking(b"connection: close"),
    "a NUL in a header": asking(b"x-a: 1\x002"),
    "a bare line feed": asking(b"x-a: 1\nx-b: 2"),
    "somebody who waits to be told to go on": post(LENGTH, b"expect: 100-continue"),
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
    assert answer_unparsed(OTHERWISE[case], MOST) is None


@pytest.mark.parametrize("case", CASES)
def test_what_may_hold_two_requests_is_never_answered_unread(case: str) -> None:
    """Only its first piece is a beginning; others are looked at only if they begin a request."""
    assert answer_unparsed(b"".join(CASES[case].pieces), MOST) is None


def test_nor_is_any_disguise() -> None:
    assert {answer_unparsed(case.pieces[0], MOST) for case in smuggling()} == {None}


@pytest.mark.parametrize("here", [0, 1, len(ASK) - 1])
def test_the_rest_of_a_body_is_counted(here: int) -> None:
    assert answered(post(LENGTH, body=ASK[:here]))[1] == len(ASK) - here
