"""What the two Anthropic dialects share, and the counting of tokens from end to end."""

import msgspec
import pytest

from dialects.anthropic_cases import GOLDEN, REPLY, answer, asked, decoded, endpoint, golden
from fairlead.dialects import DIALECTS
from fairlead.dialects.anthropic_messages import ANTHROPIC_COUNT, ANTHROPIC_MESSAGES
from fairlead.dialects.dialect import Dialect
from fairlead.types.chat import End, Usage
from fairlead.types.errors import (
    BadRequest,
    Failure,
    Forbidden,
    GatewayError,
    OurError,
    OverBudget,
    RateLimited,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UpstreamError,
)

COUNT = asked(operation="count")
BODY = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}'


def test_both_are_registered() -> None:
    assert DIALECTS["anthropic_messages"] is ANTHROPIC_MESSAGES
    assert DIALECTS["anthropic_count_tokens"] is ANTHROPIC_COUNT


def test_every_golden_folder_is_used() -> None:
    kinds = ("request", "answer", "stream", "broken")

    assert len([case for kind in kinds for case in golden(kind)]) == len(list(GOLDEN.iterdir()))


def test_a_count_is_asked_of_an_endpoint_that_speaks_messages() -> None:
    request = ANTHROPIC_COUNT.parse_request(BODY, {})
    rendered = DIALECTS[request.dialect].render_request(request, endpoint(), 50)

    assert rendered.path == "/messages/count_tokens"
    assert rendered.body == BODY.replace(b"auto", b"upstream-model")
    assert rendered.dropped == ()


def test_a_count_is_passed_on_as_it_came_and_read() -> None:
    body = b'{"input_tokens": 42, "new": 1}'
    (end,) = decoded(body, request=COUNT, relay=True)

    assert end == End("stop", Usage(42), data=body)
    assert ANTHROPIC_COUNT.encoder(COUNT, REPLY).encode(end) == body


def test_a_count_made_elsewhere_is_written() -> None:
    encoder = ANTHROPIC_COUNT.encoder(COUNT, REPLY)

    assert encoder.encode(End("stop", Usage(42))) == b'{"input_tokens":42}'


@pytest.mark.parametrize("body", [b"", b"{}", answer(), b"<html>"])
def test_a_200_that_counts_nothing(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        decoded(body, request=COUNT, relay=True)

    assert caught.value.failure is Failure.BAD_SUCCESS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("No."), "invalid_request_error"),
        (Unauthenticated("No."), "authentication_error"),
        (OverBudget("No."), "billing_error"),
        (Forbidden("No."), "permission_error"),
        (UnknownModel("No."), "not_found_error"),
        (RequestTimeout("No."), "invalid_request_error"),
        (TooLarge("No."), "request_too_large"),
        (RateLimited("No."), "rate_limit_error"),
        (OurError("No."), "api_error"),
        (UpstreamError(Failure.TRANSIENT, "No."), "api_error"),
        (UpstreamError(Failure.OVERLOADED, "No."), "overloaded_error"),
        (UpstreamError(Failure.SILENT, "No."), "timeout_error"),
        (Unavailable("No."), "overloaded_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
@pytest.mark.parametrize("dialect", [ANTHROPIC_MESSAGES, ANTHROPIC_COUNT], ids=lambda d: d.name)
def test_errors_have_the_vendors_form(dialect: Dialect, error: GatewayError, kind: str) -> None:
    assert msgspec.json.decode(dialect.render_error(error, "r1")) == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
        "request_id": "r1",
    }


@pytest.mark.parametrize(
    ("status", "kind", "failure"),
    [
        (413, "request_too_large", Failure.CALLER_FAULT),
        (529, "overloaded_error", Failure.OVERLOADED),
    ],
)
def test_errors_of_an_endpoint_are_understood(status: int, kind: str, failure: Failure) -> None:
    body = msgspec.json.encode({"type": "error", "error": {"type": kind, "message": "No."}})
    error = ANTHROPIC_MESSAGES.parse_error(status, {"retry-after": "3"}, body)

    assert (error.failure, error.message, error.retry_after_s) == (failure, "No.", 3)
    assert (error.upstream_status, error.upstream_code) == (status, kind)
