"""What is said of attempts that failed: on record, to the caller, and never with a secret."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from fairlead.decide.failover import Tried
from fairlead.decide.rescue import Went
from fairlead.dispatch.errand import Carried
from fairlead.types.decision import Attempt
from fairlead.types.errors import Failure, GatewayError, Unavailable, UpstreamError
from fairlead.types.facts import Attempted

ABOUT_THE_ACCOUNT = {
    Failure.RATE_LIMIT,
    Failure.QUOTA,
    Failure.OVERLOADED,
    Failure.CREDENTIAL,
    Failure.MODEL_GONE,
}
"""What an endpoint says of these goes on record. Of the rest it may repeat the prompt to say what
is wrong with it (FastAPI's 422 and llama.cpp's template errors do): only the caller reads that."""


OF_THE_CALLER = {Failure.CALLER_FAULT, Failure.CONTEXT_LENGTH, Failure.CONTENT_FILTER}

MOST_FIELDS, LONGEST_FIELD = 40, 100

DIVERGED = "said something else than was said before"
UNTERMINATED = "its stream ended without a terminal"


class Diverged(Exception):
    """The words of an attempt to go on with an answer are not those that its caller has."""


class SetAside(Struct, frozen=True):
    """An attempt that was not made: no money is left for it, or the request cannot cross."""

    attempt: Attempt
    why: GatewayError


def recorded(error: UpstreamError) -> str:
    """Fit for the record, which holds no prompt and no answer."""
    if not error.quoted or error.failure in ABOUT_THE_ACCOUNT:
        return error.message
    return f"status {error.upstream_status}, {error.upstream_code or 'without a code'}"


def in_brief(dropped: tuple[str, ...]) -> tuple[str, ...]:
    """Fields that were left behind, for a header and the record: a caller may make up any number of
    names, and of any length."""
    told = tuple([name[:LONGEST_FIELD] for name in dropped[:MOST_FIELDS]])
    more = len(dropped) - len(told)
    return (*told, f"and {more} more") if more else told


def masked(error: UpstreamError, signed: Mapping[str, str]) -> UpstreamError:
    """Without the credential that was sent: some endpoints repeat it to say that it is wrong."""
    secrets = [value.rpartition(" ")[2] for value in signed.values()]
    if not any([secret in error.message for secret in secrets]):
        return error
    message = error.message
    for secret in secrets:
        message = message.replace(secret, "[masked]")
    return retold(error, message)


def forgetful(error: UpstreamError) -> UpstreamError:
    """Without its frames: they hold all that the attempt had read, in a cycle with the error, and
    cycles are seldom collected."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def retold(
    error: UpstreamError,
    message: str,
    retry_after_s: float | None = None,
    attempts: tuple[Attempted, ...] = (),
) -> UpstreamError:
    return UpstreamError(
        error.failure,
        message,
        upstream_status=error.upstream_status,
        upstream_code=error.upstream_code,
        retry_after_s=error.retry_after_s if retry_after_s is None else retry_after_s,
        param=error.param,
        attempts=attempts,
        quoted=error.quoted,
    )


def given_up(tried: list[Tried], aside: list[SetAside], carried: Carried) -> GatewayError:
    """What the caller is told: the last failure, with every attempt and the soonest retry."""
    if not tried:
        return aside[0].why if aside else Unavailable("no endpoint may be tried")
    last = tried[-1].error
    waits = [t.error.retry_after_s for t in tried if t.error.retry_after_s is not None]
    story = [f"{one.attempt.endpoint.name}: {one.error.message}" for one in tried]
    story += [f"{one.attempt.endpoint.name}, not tried: {one.why.message}" for one in aside]
    told = f"{len(tried)} attempt{'s' * (len(tried) > 1)} failed: {'; '.join(story)}"
    if len(story) == 1:
        # What the caller did wrong is told in the vendor's words; else the first thing to know is
        # whose words they are.
        told = last.message if last.failure in OF_THE_CALLER else story[0]
    error = retold(
        last,
        told,
        min(waits) if waits else None,
        tuple(carried.attempts),
    )
    error.__cause__ = last
    return error


def broken_off(
    went: Sequence[Went], aside: Sequence[SetAside], carried: Carried, chars: int | None
) -> UpstreamError:
    """What the caller is told in the middle of an answer that nobody went on with. ``chars``: of
    its text, as far as known."""
    first = went[0].error
    assert first is not None
    so_far = "" if chars is None else f" after {chars} characters"
    story = [
        f"{one.leg.attempt.endpoint.name}: {one.error.message if one.error else DIVERGED}"
        for one in went
    ]
    story += [f"{one.attempt.endpoint.name}, not tried: {one.why.message}" for one in aside]
    filtered = any(one.error and one.error.failure is Failure.CONTENT_FILTER for one in went)
    error = UpstreamError(
        Failure.CONTENT_FILTER if filtered else Failure.STREAM_BROKEN,
        f"the answer broke off{so_far}: {'; '.join(story)}",
        upstream_status=first.upstream_status,
        upstream_code=first.upstream_code,
        attempts=tuple(carried.attempts),
        quoted=any(one.error is not None and one.error.quoted for one in went),
        delivered_chars=chars,
    )
    error.__cause__ = went[-1].error or first
    return error
