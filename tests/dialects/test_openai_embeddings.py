"""Embeddings, passed on and checked."""

from typing import Any

import msgspec
import pytest

from dialects.cases import REPLY
from dialects.openai_cases import endpoint
from fairlead.dialects.openai_embeddings import OPENAI_EMBEDDINGS
from fairlead.types.chat import End, Event, Request, Usage
from fairlead.types.errors import BadRequest, Failure, OverBudget, UpstreamError
from servers.canned import EMBEDDINGS

HI = b'{ "model": "small", "input": "Hi", "dimensions": 2 }'
ANSWER = msgspec.json.encode(EMBEDDINGS)


def parse(**fields: Any) -> Request:
    body = msgspec.json.encode({"model": "small", "input": "Hi", **fields})
    return OPENAI_EMBEDDINGS.parse_request(body, {})


def decoded(*pieces: bytes) -> list[Event]:
    decoder = OPENAI_EMBEDDINGS.decoder(parse(), True)
    return [event for piece in pieces for event in decoder.feed(piece)] + [*decoder.close()]


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("Hi", ("Hi",)),
        (["Hi", "Ho"], ("Hi", "Ho")),
        ([1, 2, 3], ("1 2 3",)),
        ([[1, 2], [3]], ("1 2", "3")),
    ],
)
def test_texts_and_token_ids(given: Any, texts: tuple[str, ...]) -> None:
    request = parse(input=given)

    assert (request.operation, request.model, request.inputs) == ("embed", "small", texts)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["Hi", ""]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["Hi", 5]}, "input"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": {"text": "Hi"}}, "input"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(**fields)

    assert caught.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'{"model":"m","input":"\xff"}'),
        b'{"model":"m","input":"Hi","\xffnobody looks at":1}',
    ],
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(BadRequest, match="The body"):
        OPENAI_EMBEDDINGS.parse_request(body, {})


def test_only_the_models_name_changes() -> None:
    request = OPENAI_EMBEDDINGS.parse_request(HI, {})
    same = OPENAI_EMBEDDINGS.render_request(request, endpoint(model="small"), None)
    renamed = OPENAI_EMBEDDINGS.render_request(request, endpoint(model="large"), 50)

    assert (same.path, same.body) == ("/embeddings", HI)
    assert renamed.body == b'{"model":"large","input":"Hi","dimensions":2}'
    assert same.dropped == renamed.dropped == ()


@pytest.mark.parametrize(
    ("metadata", "sent"),
    [
        ({"fairlead.zone": "eu", "mine": "1"}, {"mine": "1"}),
        ({"fairlead.zone": "eu"}, None),
        ({"mine": "1"}, {"mine": "1"}),
        ("a text", "a text"),
    ],
    ids=str,
)
def test_limits_in_metadata_hold_and_stay_here(metadata: Any, sent: Any) -> None:
    request = parse(metadata=metadata)
    body = OPENAI_EMBEDDINGS.render_request(request, endpoint(model="small"), None).body

    assert request.narrowing.zones == (("eu",) if "fairlead.zone" in metadata else ())
    assert msgspec.json.decode(body).get("metadata") == sent


def test_a_limit_that_is_no_limit_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"metadata\.fairlead\.zones is not known"):
        parse(metadata={"fairlead.zones": "eu"})


def test_the_answer_keeps_its_bytes() -> None:
    (end,) = decoded(ANSWER[:30], ANSWER[30:])

    assert end == End("stop", Usage(input_tokens=8), data=ANSWER)
    assert OPENAI_EMBEDDINGS.encoder(parse(), REPLY).encode(end) == ANSWER


@pytest.mark.parametrize(
    ("answer", "failure", "message"),
    [
        (b"", Failure.BAD_SUCCESS, "an empty body"),
        (b"<html></html>", Failure.BAD_SUCCESS, "a page of HTML"),
        (b"{}", Failure.BAD_SUCCESS, "no vectors"),
        (b'{"data": []}', Failure.BAD_SUCCESS, "no vectors"),
        (ANSWER[:-1], Failure.BAD_SUCCESS, "not understood"),
        (b'{"error": {"message": "No.", "code": "insufficient_quota"}}', Failure.QUOTA, "No."),
    ],
    ids=str,
)
def test_a_200_without_vectors(answer: bytes, failure: Failure, message: str) -> None:
    with pytest.raises(UpstreamError, match=message) as caught:
        decoded(answer)

    assert caught.value.failure is failure


def test_errors_are_those_of_the_chat_dialect() -> None:
    error = msgspec.json.decode(OPENAI_EMBEDDINGS.render_error(OverBudget("x"), "r1"))["error"]
    told = OPENAI_EMBEDDINGS.parse_error(429, {}, b'{"error": {"message": "Slow down."}}')

    assert (error["code"], error["request_id"]) == ("budget_exhausted", "r1")
    assert told.failure is Failure.RATE_LIMIT
