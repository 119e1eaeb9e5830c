"""What endpoints' errors mean: one row per case, from every vendor."""

from typing import Any

import msgspec
import pytest

from fairlead.dialects.failures import (
    STATUSES,
    bad_success,
    classify,
    in_band_error,
    presentable,
    retry_after_s,
    upstream_error,
)
from fairlead.types.errors import Failure as F


def openai(code: str | None, message: str = "No.", type: str = "invalid_request_error") -> Any:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def anthropic(type: str, message: str = "No.") -> Any:
    return {"type": "error", "error": {"type": type, "message": message}}


def google(code: int, status: str, message: str = "No.", **more: Any) -> Any:
    return {"error": {"code": code, "status": status, "message": message, **more}}


BEDROCK = [
    ("ThrottlingException", 429, F.RATE_LIMIT),
    ("ModelNotReadyException", 429, F.OVERLOADED),
    ("ModelErrorException", 424, F.TRANSIENT),
    ("ModelStreamErrorException", 424, F.TRANSIENT),
    ("ModelTimeoutException", 408, F.SILENT),
    ("ServiceQuotaExceededException", 400, F.QUOTA),
    ("ValidationException", 400, F.CALLER_FAULT),
    ("AccessDeniedException", 403, F.CREDENTIAL),
    ("ResourceNotFoundException", 404, F.MODEL_GONE),
    ("ServiceUnavailableException", 503, F.OVERLOADED),
    ("InternalServerException", 500, F.TRANSIENT),
    ("ExpiredTokenException", 403, F.CREDENTIAL),
]
OPENAI = [
    (429, openai("rate_limit_exceeded", type="requests"), F.RATE_LIMIT),
    (429, openai("insufficient_quota", type="insufficient_quota"), F.QUOTA),
    (401, openai("invalid_api_key"), F.CREDENTIAL),
    (404, openai("model_not_found"), F.MODEL_GONE),
    (403, openai("model_not_found", "Project does not have access to model"), F.MODEL_GONE),
    (400, openai("context_length_exceeded"), F.CONTEXT_LENGTH),
    (400, openai("content_filter"), F.CONTENT_FILTER),
    (400, openai("content_policy_violation"), F.CONTENT_FILTER),
    (400, openai(None), F.CALLER_FAULT),
    (401, openai(None), F.CREDENTIAL),
    (500, openai(None, type="server_error"), F.TRANSIENT),
]
ANTHROPIC = [
    (400, anthropic("invalid_request_error"), F.CALLER_FAULT),
    (401, anthropic("authentication_error"), F.CREDENTIAL),
    (402, anthropic("billing_error"), F.QUOTA),
    (403, anthropic("permission_error"), F.CREDENTIAL),
    (404, anthropic("not_found_error"), F.MODEL_GONE),
    (413, anthropic("request_too_large"), F.CALLER_FAULT),
    (429, anthropic("rate_limit_error"), F.RATE_LIMIT),
    (429, anthropic("rate_limit_error", "enforced_spend_limit_reached"), F.QUOTA),
    (500, anthropic("api_error"), F.TRANSIENT),
    (504, anthropic("timeout_error"), F.TRANSIENT),
    (529, anthropic("overloaded_error"), F.OVERLOADED),
    (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
        F.QUOTA,
    ),
    (
        400,
        anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        F.CONTEXT_LENGTH,
    ),
]
GOOGLE = [
    (400, google(400, "INVALID_ARGUMENT"), F.CALLER_FAULT),
    (
        400,
        google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        F.CREDENTIAL,
    ),
    (400, google(400, "FAILED_PRECONDITION"), F.CREDENTIAL),
    (403, google(403, "PERMISSION_DENIED"), F.CREDENTIAL),
    (404, google(404, "NOT_FOUND", "models/x is no longer available."), F.MODEL_GONE),
    (429, google(429, "RESOURCE_EXHAUSTED"), F.RATE_LIMIT),
    (
        429,
        google(
            429, "RESOURCE_EXHAUSTED", details=[{"violations": [{"quotaId": "TokensPerDayFree"}]}]
        ),
        F.QUOTA,
    ),
    (500, google(500, "INTERNAL"), F.TRANSIENT),
    (503, google(503, "UNAVAILABLE"), F.OVERLOADED),
    (504, google(504, "DEADLINE_EXCEEDED"), F.TRANSIENT),
    (400, [google(400, "INVALID_ARGUMENT", "API key expired.")], F.CREDENTIAL),
]
OTHERS = [
    pytest.param(404, {"error": "model 'x' not found"}, F.MODEL_GONE, id="Ollama: unknown model"),
    pytest.param(
        400,
        {"error": {"code": 400, "type": "exceed_context_size_error", "message": "too big"}},
        F.CONTEXT_LENGTH,
        id="llama.cpp: context",
    ),
    pytest.param(
        503,
        {"error": {"code": 503, "type": "unavailable_error", "message": "Loading model"}},
        F.OVERLOADED,
        id="llama.cpp: loading",
    ),
    pytest.param(
        400,
        {
            "object": "error",
            "type": "BadRequestError",
            "message": "This model's maximum context length is 4096 tokens.",
        },
        F.CONTEXT_LENGTH,
        id="vLLM: context",
    ),
    pytest.param(
        500,
        {
            "error": {
                "code": 500,
                "message": "input (9001 tokens) is too large to process. increase the batch size",
                "type": "server_error",
            }
        },
        F.CONTEXT_LENGTH,
        id="llama.cpp: embedding as 500",
    ),
    pytest.param(
        500, {"error": "Reached context overflow"}, F.CONTEXT_LENGTH, id="LM Studio: context as 500"
    ),
    pytest.param(
        400, openai("model_decommissioned", "gone"), F.MODEL_GONE, id="Groq: decommissioned"
    ),
    pytest.param(402, {"error": {"message": "Insufficient Balance"}}, F.QUOTA, id="DeepSeek: 402"),
    pytest.param(
        400,
        {"message": "This model version has reached the end of its life."},
        F.MODEL_GONE,
        id="Bedrock: retired as 400",
    ),
    pytest.param(
        403,
        {"message": "You don't have access to the model with the specified model ID."},
        F.MODEL_GONE,
        id="Bedrock: model not enabled",
    ),
    pytest.param(422, {"detail": [{"loc": ["body"], "msg": "x"}]}, F.CALLER_FAULT, id="FastAPI"),
]


@pytest.mark.parametrize(("status", "body", "expected"), [*OPENAI, *ANTHROPIC, *GOOGLE, *OTHERS])
def test_a_vendors_word_says_more_than_its_status(status: int, body: Any, expected: F) -> None:
    error = upstream_error(status, {}, msgspec.json.encode(body))

    assert error.failure is expected
    assert error.upstream_status == status


@pytest.mark.parametrize(("exception", "status", "expected"), BEDROCK)
def test_bedrock_is_told_by_its_exceptions_name(exception: str, status: int, expected: F) -> None:
    headers = {"x-amzn-errortype": f"{exception}:http://internal.amazon.com/coral/"}
    in_header = upstream_error(status, headers, b'{"message":"No."}')
    in_body = upstream_error(status, {}, b'{"__type":"%b","message":"No."}' % exception.encode())

    assert (in_header.failure, in_body.failure) == (expected, expected)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *STATUSES.items(),
        *((status, F.CALLER_FAULT) for status in (400, 405, 413, 415, 422, 451)),
        *((status, F.TRANSIENT) for status in (500, 501, 502, 504, 520, 522, 524)),
        *((status, F.BAD_SUCCESS) for status in (200, 204, 302)),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"{}", b"upstream error"])
def test_without_a_word_the_status_decides(status: int, expected: F, body: bytes) -> None:
    assert upstream_error(status, {}, body).failure is expected


@pytest.mark.parametrize(
    ("status", "code", "type", "expected"),
    [
        (None, "", "", F.BAD_SUCCESS),
        (200, "429", "", F.RATE_LIMIT),
        (200, "", "invalid_request_error", F.CALLER_FAULT),
        (200, "", "overloaded_error", F.OVERLOADED),
        (200, "", "ValidationException", F.CALLER_FAULT),
    ],
)
def test_an_error_in_a_200_has_only_words(
    status: int | None, code: str, type: str, expected: F
) -> None:
    assert classify(status, code, type) is expected


def test_an_error_in_a_stream_keeps_its_class_until_content_has_begun() -> None:
    told = openai("rate_limit_exceeded", "Slow down.")

    before, after = in_band_error(told, begun=False), in_band_error(told, begun=True)

    assert (before.failure, before.message) == (F.RATE_LIMIT, "Slow down.")
    assert (after.failure, after.message) == (F.STREAM_BROKEN, "Slow down.")
    assert after.upstream_code == "rate_limit_exceeded"


def test_a_filters_verdict_stays_one_in_the_middle_of_a_stream() -> None:
    told = openai("content_filter", "Not this.")

    assert in_band_error(told, begun=True).failure is F.CONTENT_FILTER


@pytest.mark.parametrize(
    ("body", "expected", "message"),
    [
        (b'{"error":{"message":"Busy.","type":"overloaded_error"}}', F.OVERLOADED, "Busy."),
        (b'{"error":"Odd."}', F.BAD_SUCCESS, "Odd."),
        (b"<!doctype html>", F.BAD_SUCCESS, "The endpoint answered 200 with a page of HTML."),
        (b"", F.BAD_SUCCESS, "The endpoint answered 200 with an empty body."),
        (b"{", F.BAD_SUCCESS, "The endpoint answered 200 with a body that is not understood."),
        (b"oops", F.BAD_SUCCESS, "The endpoint answered 200: oops"),
    ],
)
def test_a_200_that_is_no_answer(body: bytes, expected: F, message: str) -> None:
    error = bad_success(body)

    assert (error.failure, error.message) == (expected, message)


USED_UP = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
WED = "Wed, 21 Oct 2026 07:2{}:00 GMT"


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({}, "", None),
        ({"retry-after": "2"}, "", 2.0),
        ({"retry-after": "2.5"}, "", 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({"x-ms-retry-after-ms": "250"}, "", 0.25),
        ({"retry-after": WED.format(9), "date": WED.format(8)}, "", 60.0),
        ({"retry-after": WED.format(8), "date": WED.format(9)}, "", None),
        ({"retry-after": WED.format(9)}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-1"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "inf"}, "", 3600.0),
        ({"retry-after": "86400"}, "", 3600.0),
        ({}, "Please try again in 1.5s.", 1.5),
        ({}, "Please try again in 20ms. Visit", 0.02),
        ({}, "Please try again in 6m0s.", 360.0),
        ({}, "Please try again in 1h2m3s.", 3600.0),
        ({}, '[{"@type":"RetryInfo","retryDelay":"34s"}]', 34.0),
        ({}, "Please try again in a while.", None),
        ({"retry-after": "1"}, "Please try again in 20s.", 1.0),
        (USED_UP, "", 360.0),
        (USED_UP, "Please try again in 20ms.", 0.02),
        (USED_UP | {"retry-after": "1"}, "", 1.0),
    ],
)
def test_when_to_come_back(headers: dict[str, str], message: str, expected: float | None) -> None:
    assert retry_after_s(headers, message) == expected


def test_googles_delay_is_found_in_its_details() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]
    body = msgspec.json.encode(google(429, "RESOURCE_EXHAUSTED", details=details))

    assert upstream_error(429, {}, body).retry_after_s == 34.0


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Incorrect API key provided: sk-proj-Ab12*****xyz.", "Incorrect API key provided: ["),
        ("header was Bearer abc.def-ghi, sorry", "header was Bearer [masked], sorry"),
        ("key AIzaSyA1234567 is blocked", "key [masked] is blocked"),
        ("GET /v1?key=s3cret&alt=sse", "GET /v1?key=[masked]&alt=sse"),
        ("x-api-key=abc123", "x-api-key=[masked]"),
        ("AKIAIOSFODNN7EXAMPLE is not known", "[masked] is not known"),
        ("ask-me is a word; risk-free too", "ask-me is a word; risk-free too"),
        ("x" * 600, "x" * 500),
    ],
)
def test_what_looks_like_a_key_is_masked(message: str, expected: str) -> None:
    assert presentable(message).startswith(expected)
    assert not any(part in presentable(message) for part in ("Ab12", "s3cret", "SyA1", "abc"))


def test_the_param_at_fault_is_kept() -> None:
    body = b'{"error":{"message":"No.","type":"invalid_request_error","param":"stop","code":null}}'

    assert upstream_error(400, {}, body).param == "stop"


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'{"error":[]}', b'{"error":{"code":{},"type":[1]}}', b"[" * 5000]
)
def test_odd_bodies_are_only_odd(body: bytes) -> None:
    assert upstream_error(500, {}, body).failure is F.TRANSIENT
