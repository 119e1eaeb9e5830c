"""What an endpoint's error means: the one table for every vendor. Knows error bodies, no dialect.

A vendor's own word (code, type or exception name) says more than its HTTP status: Gemini answers a
bad key with 400, Bedrock a retired model with 400, Anthropic an empty account with 400. So the word
comes first, then the status, and then a few texts where a vendor has no better word.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.dialects.headroom import dry_for_s
from fairlead.types.errors import Failure, UpstreamError

_F = Failure

WORDS: dict[str, Failure] = {
    # OpenAI, Azure and those who follow them
    "account_deactivated": _F.CREDENTIAL,
    "invalid_api_key": _F.CREDENTIAL,
    "invalid_authentication": _F.CREDENTIAL,
    "unsupported_country_region_territory": _F.CREDENTIAL,
    "billing_hard_limit_reached": _F.QUOTA,
    "billing_not_active": _F.QUOTA,
    "enforced_spend_limit_reached": _F.QUOTA,
    "exceeded_current_quota_error": _F.QUOTA,
    "insufficient_quota": _F.QUOTA,
    "rate_limit_exceeded": _F.RATE_LIMIT,
    "rate_limit_reached_error": _F.RATE_LIMIT,
    "service_tier_capacity_exceeded": _F.OVERLOADED,
    "server_overloaded": _F.OVERLOADED,
    "engine_overloaded_error": _F.OVERLOADED,
    "deploymentnotfound": _F.MODEL_GONE,
    "model_decommissioned": _F.MODEL_GONE,
    "model_deprecated": _F.MODEL_GONE,
    "model_not_available": _F.MODEL_GONE,
    "model_not_found": _F.MODEL_GONE,
    "context_length_exceeded": _F.CONTEXT_LENGTH,
    "exceed_context_size_error": _F.CONTEXT_LENGTH,
    "content_filter": _F.CONTENT_FILTER,
    "content_policy_violation": _F.CONTENT_FILTER,
    "invalid_prompt": _F.CONTENT_FILTER,
    "responsibleaipolicyviolation": _F.CONTENT_FILTER,
    "server_error": _F.TRANSIENT,
    "tool_use_failed": _F.TRANSIENT,
    # Anthropic
    "api_error": _F.TRANSIENT,
    "authentication_error": _F.CREDENTIAL,
    "billing_error": _F.QUOTA,
    "not_found_error": _F.MODEL_GONE,
    "overloaded_error": _F.OVERLOADED,
    "permission_error": _F.CREDENTIAL,
    "rate_limit_error": _F.RATE_LIMIT,
    "request_too_large": _F.CALLER_FAULT,
    "timeout_error": _F.TRANSIENT,
    # Google
    "aborted": _F.TRANSIENT,
    "api_key_invalid": _F.CREDENTIAL,
    "deadline_exceeded": _F.TRANSIENT,
    "failed_precondition": _F.CREDENTIAL,
    "internal": _F.TRANSIENT,
    "not_found": _F.MODEL_GONE,
    "permission_denied": _F.CREDENTIAL,
    "resource_exhausted": _F.RATE_LIMIT,
    "unauthenticated": _F.CREDENTIAL,
    "unavailable": _F.OVERLOADED,
    # Bedrock: botocore's service model; several share a status with a caller's mistake
    "accessdeniedexception": _F.CREDENTIAL,
    "expiredtokenexception": _F.CREDENTIAL,
    "incompletesignatureexception": _F.CREDENTIAL,
    "internalserverexception": _F.TRANSIENT,
    "invalidsignatureexception": _F.CREDENTIAL,
    "missingauthenticationtokenexception": _F.CREDENTIAL,
    "modelerrorexception": _F.TRANSIENT,
    "modelnotreadyexception": _F.OVERLOADED,
    "modelstreamerrorexception": _F.TRANSIENT,
    "modeltimeoutexception": _F.SILENT,
    "resourcenotfoundexception": _F.MODEL_GONE,
    "servicequotaexceededexception": _F.QUOTA,
    "serviceunavailableexception": _F.OVERLOADED,
    "throttlingexception": _F.RATE_LIMIT,
    "unrecognizedclientexception": _F.CREDENTIAL,
    # Local servers
    "unavailable_error": _F.OVERLOADED,
}
"""By the vendor's code or type in lower case."""

VAGUE_WORDS: dict[str, Failure] = {
    "bad_request_error": _F.CALLER_FAULT,
    "badrequesterror": _F.CALLER_FAULT,
    "invalid_argument": _F.CALLER_FAULT,
    "invalid_request": _F.CALLER_FAULT,
    "invalid_request_error": _F.CALLER_FAULT,
    "validationexception": _F.CALLER_FAULT,
}
"""Said of a bad key, an unknown model and an empty account too: only where no status is."""

STATUSES: dict[int, Failure] = {
    401: _F.CREDENTIAL,
    402: _F.QUOTA,
    403: _F.CREDENTIAL,
    404: _F.MODEL_GONE,
    408: _F.TRANSIENT,
    409: _F.TRANSIENT,
    410: _F.MODEL_GONE,
    424: _F.TRANSIENT,
    425: _F.TRANSIENT,
    429: _F.RATE_LIMIT,
    498: _F.OVERLOADED,
    499: _F.TRANSIENT,
    503: _F.OVERLOADED,
    529: _F.OVERLOADED,
}
"""Where no word says more. Any other 4xx is the caller's fault, any other 5xx passes by itself."""

_CONTEXT_TEXTS = (
    ("maximum context length", _F.CONTEXT_LENGTH),
    ("prompt is too long", _F.CONTEXT_LENGTH),
    ("input is too long", _F.CONTEXT_LENGTH),
    ("exceed context limit", _F.CONTEXT_LENGTH),
    ("exceeds the available context size", _F.CONTEXT_LENGTH),
    ("too large to process", _F.CONTEXT_LENGTH),  # llama.cpp of an embedding, with 500
    ("exceeds the maximum number of tokens", _F.CONTEXT_LENGTH),
    ("greater than the context length", _F.CONTEXT_LENGTH),
    ("context length exceeded", _F.CONTEXT_LENGTH),
    ("context overflow", _F.CONTEXT_LENGTH),
    ("too many tokens in the prompt", _F.CONTEXT_LENGTH),
)
_RETIRED_TEXTS = (
    ("no longer available", _F.MODEL_GONE),
    ("no longer supported", _F.MODEL_GONE),
    ("has been deprecated", _F.MODEL_GONE),
    ("has been decommissioned", _F.MODEL_GONE),
    ("end of its life", _F.MODEL_GONE),
    ("model identifier is invalid", _F.MODEL_GONE),
    ("model does not exist", _F.MODEL_GONE),
)
TEXTS: dict[Failure, tuple[tuple[str, Failure], ...]] = {
    _F.CALLER_FAULT: (
        *_CONTEXT_TEXTS,
        *_RETIRED_TEXTS,
        ("credit balance", _F.QUOTA),
        ("api key not valid", _F.CREDENTIAL),
        ("api key expired", _F.CREDENTIAL),
        ("api_key_invalid", _F.CREDENTIAL),
        ("content management policy", _F.CONTENT_FILTER),
    ),
    # LM Studio answers an overflow with 500; vLLM and llama.cpp have done so too.
    _F.TRANSIENT: _CONTEXT_TEXTS,
    _F.CREDENTIAL: (("access to the model", _F.MODEL_GONE),),
    _F.RATE_LIMIT: (
        ("enforced_spend_limit_reached", _F.QUOTA),
        ("perday", _F.QUOTA),
        ("insufficient_quota", _F.QUOTA),
    ),
}
"""By what words and status said: texts, in lower case, that make it something more exact."""

SEARCHED_CHARS = 4000


def classify(
    status: int | None,
    code: str = "",
    type: str = "",
    message: str = "",
    headers: Mapping[str, str] | None = None,
) -> Failure:
    """Say how the endpoint failed. ``status`` is None, or below 400, for an error in an answer."""
    # Bedrock names the exception in a header: ``ThrottlingException:http://...``.
    exception = (headers or {}).get("x-amzn-errortype", "").partition(":")[0]
    words = [word.lower() for word in (exception, code, type)]
    if (status or 0) < 400:
        status = next((int(word) for word in words if _is_status(word)), 0)
    failure = (
        next((WORDS[word] for word in words if word in WORDS), None)
        or STATUSES.get(status or 0)
        or (status and (_F.CALLER_FAULT if status < 500 else _F.TRANSIENT))
        or next((VAGUE_WORDS[word] for word in words if word in VAGUE_WORDS), None)
        or _F.BAD_SUCCESS
    )
    text = message[:SEARCHED_CHARS].lower()
    exacter = (to for wanted, to in TEXTS.get(failure, ()) if wanted in text)
    return next(exacter, failure)


def _is_status(word: str) -> bool:
    return len(word) == 3 and word.isascii() and word.isdigit() and 400 <= int(word) < 600


# When to come back -------------------------------------------------------------------------------

MAX_RETRY_AFTER_S = 3600.0

_WAIT_TEXT = re.compile(
    r'(?:try again in|retry in|"retryDelay":)\s*"?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?'
    r"(?:(\d{1,9}(?:\.\d{1,9})?)(ms|s))?",
    re.IGNORECASE,
)


def retry_after_s(headers: Mapping[str, str], message: str = "") -> float | None:
    """Return how long the endpoint asks us to stay away, at most one hour; None if not said.

    A date needs a clock, and the reply brings one: its own ``date`` header (RFC 9110, 10.2.3).
    ``message`` may be a text that says so, or Google's error details as JSON.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (wait_ms := _number(headers.get(name, ""))) is not None:
            return _clamped(wait_ms / 1000)
    if after := headers.get("retry-after", ""):
        wait_s = _number(after)
        return _clamped(_until(after, headers.get("date", "")) if wait_s is None else wait_s)
    match = _WAIT_TEXT.search(message[:SEARCHED_CHARS])
    if match is None or not any(match.groups()):
        return dry_for_s(headers)
    hours, minutes, amount, unit = match.groups()
    wait_s = float(amount or 0) / (1000 if unit and unit.lower() == "ms" else 1)
    return _clamped(int(hours or 0) * 3600 + int(minutes or 0) * 60 + wait_s)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _until(then: str, now: str) -> float | None:
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def _clamped(wait_s: float | None) -> float | None:
    if wait_s is None or math.isnan(wait_s) or wait_s < 0:
        return None
    return min(wait_s, MAX_RETRY_AFTER_S)


# What was said -----------------------------------------------------------------------------------

MAX_MESSAGE = 500

_SECRETS = re.compile(
    r"""\b(?:(?:sk|pk|rk|gsk|xai|hf|r8|ghp|nvapi|pplx)[-_][\w*.-]{4,}
        |AIza[\w*-]{4,}
        |(?:AKIA|ASIA)[A-Z0-9]{8,}
        |ya29\.[\w.-]+
        |eyJ[\w-]{8,}\.[\w.-]+
        |((?:bearer\ |key\ provided:\ |key:\ |[\w-]*key=|token=|secret=|password=)["']?)
         [^\s"'&,;]+)""",
    re.IGNORECASE | re.VERBOSE,
)


def presentable(message: str) -> str:
    """Mask what looks like a key, then cut to 500 characters."""
    return _SECRETS.sub(r"\1[masked]", message[: 2 * MAX_MESSAGE])[:MAX_MESSAGE]


class Said(Struct, frozen=True):
    """What an error body says, whichever vendor's shape it has."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    details: str = ""
    """Further details, as JSON text, to look for causes and delays in."""
    quoted: bool = True
    """False: ``message`` is ours, for want of a word from the endpoint."""


def said(value: Any) -> Said | None:
    """Read a decoded error body: OpenAI's, Anthropic's, Google's, AWS's, FastAPI's, Ollama's
    ``{"error": "text"}``, or a bare ``{"message": ...}``. None when it is none of these."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error") or value.get("detail")
    if isinstance(error, dict):
        return _said(error)
    if error:
        text = error if isinstance(error, str) else msgspec.json.encode(error).decode()
        return msgspec.structs.replace(_said(value), message=text)
    if value.keys() & {"message", "Message", "__type"}:
        return _said(value)
    return None


def _said(error: Mapping[str, Any]) -> Said:
    param = error.get("param")
    details = error.get("details") or error.get("metadata")
    return Said(
        message=_text(error.get("message") or error.get("Message")),
        code=_text(error.get("code")),
        type=_text(error.get("type") or error.get("status") or error.get("__type")),
        param=param if isinstance(param, str) else None,
        details=msgspec.json.encode(details).decode() if details else "",
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


# From a reply to an error ------------------------------------------------------------------------


def upstream_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """Turn a reply that is an error into one. ``headers`` have lower-case names."""
    return _error(status, headers, _said_in(body) or _unreadable(status, body))


def in_band_error(value: Any, begun: bool) -> UpstreamError:
    """Turn an error inside a 200 answer into one. ``value`` is the decoded event or body.

    Once content has ``begun``, whatever went wrong broke the stream: nobody can start afresh. A
    filter's verdict stays one.
    """
    broke_off = Said("The endpoint broke off with an error.", quoted=False)
    error = _error(200, {}, said(value) or broke_off)
    if begun and error.failure is not Failure.CONTENT_FILTER:
        error = UpstreamError(
            Failure.STREAM_BROKEN,
            error.message,
            upstream_status=200,
            upstream_code=error.upstream_code,
            quoted=error.quoted,
        )
    return error


def bad_success(body: bytes) -> UpstreamError:
    """Turn a 200 whose body is no answer (an error, HTML, nothing) into an error."""
    return upstream_error(200, {}, body)


def _error(status: int, headers: Mapping[str, str], told: Said) -> UpstreamError:
    text = f"{told.message} {told.details}"
    return UpstreamError(
        classify(status, told.code, told.type, text, headers),
        presentable(told.message) or f"The endpoint answered {status} without a message.",
        upstream_status=status,
        upstream_code=presentable(told.code or told.type)[:64],
        retry_after_s=retry_after_s(headers, text),
        param=told.param,
        quoted=told.quoted and bool(told.message),
    )


def _said_in(body: bytes) -> Said | None:
    try:
        return said(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _unreadable(status: int, body: bytes) -> Said:
    start = body[:200].strip()
    if not start:
        what = "with an empty body"
    elif start.startswith(b"<"):
        what = "with a page of HTML"
    elif start.startswith((b"{", b"[")) or not start.isascii():
        what = "with a body that is not understood"
    else:
        words = body[:MAX_MESSAGE].decode(errors="replace")
        return Said(f"The endpoint answered {status}: {words}")
    return Said(f"The endpoint answered {status} {what}.", quoted=False)
