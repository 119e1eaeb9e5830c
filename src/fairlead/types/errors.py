"""Every way a request can fail, by who is at fault. Knows no dialect: each renders them its way.

* GatewayError
  - CallerError             the caller must change something; the same request fails again
    . BadRequest            400  malformed, or a value nobody accepts; NotHttp ends the connection
    . ContextTooLong        400  no permitted model can hold it
    . Unauthenticated       401  no key, or a wrong or revoked one
    . UnknownModel          404  neither a route, a model nor an endpoint
    . NotFound              404  no such address
    . MethodNotAllowed      405
    . RequestTimeout        408  the body did not arrive in time
    . KeyInUse              409  a request with this idempotency-key is being answered
    . TooLarge              413  the body exceeds the limit
    . UnsupportedEncoding   415  the body is compressed
    . KeyReused             422  this idempotency-key was used for something else
    . HeadersTooLarge       431  a header, or all of them, exceed the limit
  - PolicyError             the rules say no
    . OverBudget            402  a hard budget is used up
    . Forbidden             403  the key may not use this route, or no permitted endpoint is left
    . RateLimited           429  the key's requests or tokens per minute
  - Unavailable             503  every permitted endpoint is down, gated or retired
  - UpstreamError           502  an endpoint failed; carries what failover needs
  - OurError                500  a bug here
    . Overloaded            503  too much work at once
    . ShuttingDown          503  told to stop: another instance, or the next one, answers
"""

from enum import StrEnum

from fairlead.types.facts import Attempted

MOST_SAID, LONGEST_PARAM = 8_000, 200
"""Characters. Names that a caller made up may be as long as a body, and go on record with it."""


class Failure(StrEnum):
    """How an endpoint failed. What follows from each is data in ``decide.failover``."""

    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    OVERLOADED = "overloaded"
    TRANSIENT = "transient"
    CONNECT = "connect"
    SILENT = "silent"
    MODEL_GONE = "model_gone"
    CREDENTIAL = "credential"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    CALLER_FAULT = "caller_fault"
    BAD_SUCCESS = "bad_success"
    STREAM_BROKEN = "stream_broken"


class GatewayError(Exception):
    """Base of the tree. ``message`` is for people and never holds a secret or a prompt."""

    status = 500
    code = "internal_error"
    retryable = False
    """Whether the same request may succeed if sent again; told in ``x-should-retry``."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        attempts: tuple[Attempted, ...] = (),
    ) -> None:
        if len(message) > MOST_SAID:
            message = f"{message[:MOST_SAID]}..."
        super().__init__(message)
        self.message = message
        self.param = param[:LONGEST_PARAM] if param else param
        self.retry_after_s = retry_after_s
        self.attempts = attempts


class CallerError(GatewayError):
    status = 400
    code = "invalid_request"


class BadRequest(CallerError):
    pass


class NotHttp(BadRequest):
    """It could be read in two ways, or in none: the connection ends with the answer."""


class ContextTooLong(CallerError):
    code = "context_length_exceeded"


class Unauthenticated(CallerError):
    status = 401
    code = "invalid_api_key"


class UnknownModel(CallerError):
    status = 404
    code = "model_not_found"


class NotFound(CallerError):
    status = 404
    code = "not_found"


class MethodNotAllowed(CallerError):
    status = 405
    code = "method_not_allowed"


class RequestTimeout(CallerError):
    status = 408
    code = "request_timeout"
    retryable = True


class KeyInUse(CallerError):
    status = 409
    code = "idempotency_key_in_use"
    retryable = True


class KeyReused(CallerError):
    status = 422
    code = "idempotency_key_reused"


class TooLarge(CallerError):
    status = 413
    code = "request_too_large"


class UnsupportedEncoding(CallerError):
    status = 415
    code = "unsupported_encoding"


class HeadersTooLarge(CallerError):
    status = 431
    code = "headers_too_large"


class PolicyError(GatewayError):
    status = 403
    code = "forbidden"


class OverBudget(PolicyError):
    status = 402
    code = "budget_exhausted"


class Forbidden(PolicyError):
    pass


class RateLimited(PolicyError):
    status = 429
    code = "rate_limit_exceeded"
    retryable = True


class Unavailable(GatewayError):
    status = 503
    code = "no_endpoint_available"
    retryable = True


class UpstreamError(GatewayError):
    """An endpoint failed. ``status`` is what the caller is told if nothing else answers."""

    status = 502
    code = "upstream_error"

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        upstream_status: int | None = None,
        upstream_code: str = "",
        retry_after_s: float | None = None,
        param: str | None = None,
        attempts: tuple[Attempted, ...] = (),
        quoted: bool = False,
        delivered_chars: int | None = None,
    ) -> None:
        """``quoted``: the message has the endpoint's own words, which may repeat the caller's.
        ``delivered_chars``: so much text the caller has of an answer that will not be whole."""
        super().__init__(message, param=param, retry_after_s=retry_after_s, attempts=attempts)
        self.failure = failure
        self.quoted = quoted
        self.delivered_chars = delivered_chars
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.status, self.code = CLIENT_VIEW[failure]
        self.retryable = failure in (Failure.RATE_LIMIT, Failure.OVERLOADED)


CLIENT_VIEW: dict[Failure, tuple[int, str]] = {
    Failure.RATE_LIMIT: (429, "rate_limit_exceeded"),
    Failure.QUOTA: (429, "insufficient_quota"),
    Failure.OVERLOADED: (503, "upstream_overloaded"),
    Failure.TRANSIENT: (502, "upstream_error"),
    Failure.CONNECT: (502, "upstream_unreachable"),
    Failure.SILENT: (504, "upstream_timeout"),
    Failure.MODEL_GONE: (404, "model_not_found"),
    Failure.CREDENTIAL: (502, "upstream_credential_rejected"),
    Failure.CONTEXT_LENGTH: (400, "context_length_exceeded"),
    Failure.CONTENT_FILTER: (400, "content_filter"),
    Failure.CALLER_FAULT: (400, "invalid_request"),
    Failure.BAD_SUCCESS: (502, "empty_completion"),
    Failure.STREAM_BROKEN: (502, "upstream_stream_broken"),
}
"""Status and code for the caller when this failure ends the request (reliability notes, 2.1)."""


class OurError(GatewayError):
    pass


class Overloaded(OurError):
    status = 503
    code = "overloaded"
    retryable = True


class ShuttingDown(OurError):
    status = 503
    code = "shutting_down"
    retryable = True
