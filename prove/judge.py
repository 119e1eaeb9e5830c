"""Judges a cell of the wall: what its caller got, and what its upstreams were asked. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from prove.expected import ANTHROPIC_TYPES, Answered, Expected
from prove.heard import Heard, Raw, heard
from prove.vendors import TEXT, TOOL_CALLS

HANG, TRUNCATED, WRONG, ASKED, LATE = "hang", "truncated", "wrong class", "asked", "late"
"""Asked: an endpoint was asked more often than it may be, or one was that must not be."""

FINISHES = {"openai": "stop", "anthropic": "end_turn", "embeddings": ""}
TOOL_FINISHES = {"openai": "tool_calls", "anthropic": "tool_use"}
STREAM_TYPES = {"openai": "server_error", "anthropic": "api_error"}


@dataclass(frozen=True)
class Asked:
    """What really happened in one call: by the upstreams' log, and by the journal for the class."""

    first: int
    second: int
    failures: tuple[str, ...]
    """Of the attempts at the faulty endpoint, in the journal's words."""


@dataclass(frozen=True)
class Right:
    """The answer that is wanted where there is one."""

    caller: str
    tools: bool = False
    text: str = TEXT
    finish: Mapping[str, str] | None = None

    @property
    def reason(self) -> str:
        usual = TOOL_FINISHES if self.tools else FINISHES
        return (self.finish or usual)[self.caller]


def faults_of(want: Expected, right: Right, raw: Raw, asked: Asked, slack_s: float) -> list[str]:
    """What is wrong with a call: a kind and, after a colon, why. Empty if all is well."""
    if not raw.in_time:
        return [f"{HANG}: no end after {raw.seconds:.1f} s"]
    found = heard(right.caller, raw)
    wrong = list(_answer(want, right, raw, found))
    if raw.seconds > want.within_s + slack_s:
        wrong.append(f"{LATE}: {raw.seconds:.2f} s, {want.within_s + slack_s:.2f} s allowed")
    if asked.first not in want.first:
        wrong.append(
            f"{ASKED}: the first endpoint {asked.first} times, {_span(want.first)} allowed"
        )
    if asked.second not in want.second:
        wrong.append(
            f"{ASKED}: the second endpoint {asked.second} times, {_span(want.second)} allowed"
        )
    if not set(asked.failures) <= want.classes:
        wrong.append(f"{WRONG}: on record as {asked.failures}, not {sorted(want.classes)}")
    return wrong


def _answer(want: Expected, right: Right, raw: Raw, found: Heard) -> list[str]:
    if found.odd:
        return [f"{WRONG}: unreadable, {found.odd}"]
    if found.status == 200 and not found.errors and found.ends and raw.complete:
        # All that a client can look at says that it worked.
        if not _is_right(right, found):
            return [f"{TRUNCATED}: {found.finish!r} after {found.text[-30:]!r} {found.calls}"]
        return _wanted(Answered.WHOLE, want) + _said_once(found)
    if found.status == 200:
        return _wanted(Answered.BROKEN, want) + _broken(right, raw, found)
    return _wanted(Answered.REFUSED, want) + _refused(want, right, raw, found)


def _wanted(answered: Answered, want: Expected) -> list[str]:
    if answered in want.answers:
        return []
    wanted = " or ".join(sorted(answer.value for answer in want.answers))
    return [f"{WRONG}: the caller got {answered.value}, wanted is {wanted}"]


def _is_right(right: Right, found: Heard) -> bool:
    if right.tools:
        return found.finish == right.reason and found.tool_calls == TOOL_CALLS
    return (found.text, found.finish, found.calls) == (right.text, right.reason, {})


def _said_once(found: Heard) -> list[str]:
    if (found.ends, found.after) == (1, 0):
        return []
    return [f"{WRONG}: {found.ends} terminals, {found.after} events after the first"]


def _broken(right: Right, raw: Raw, found: Heard) -> list[str]:
    """An answer that breaks off says so once, at its end, and is no whole transfer."""
    wrong = []
    if (found.errors, found.ends, found.after) != (1, 0, 0):
        counts = f"{found.errors} errors, {found.ends} terminals, {found.after} events after"
        wrong.append(f"{WRONG}: {counts}")
    if raw.complete:
        wrong.append(f"{TRUNCATED}: an error in a transfer that ends as if it were whole")
    said = (found.error_code, found.error_type)
    if said != ("upstream_stream_broken", STREAM_TYPES[right.caller]):
        wrong.append(f"{WRONG}: in the stream stands {said}")
    if not right.tools:
        if not right.text.startswith(found.text):
            wrong.append(f"{WRONG}: said {found.text[-30:]!r}")
        if found.delivered != len(found.text):
            told = f"{found.delivered} characters of {len(found.text)}"
            wrong.append(f"{WRONG}: the error speaks of {told}")
    return wrong


def _refused(want: Expected, right: Right, raw: Raw, found: Heard) -> list[str]:
    wrong = []
    wanted: set[tuple[int, str]] = set(want.told)
    said = (found.status, found.error_code)
    if right.caller == "anthropic":  # others have a code
        wanted = {(status, ANTHROPIC_TYPES[status]) for status, _ in want.told}
        said = (found.status, found.error_type)
    if said not in wanted or not raw.complete:
        wrong.append(f"{WRONG}: told {said}, wanted is {sorted(wanted)}")
    again = "true" if want.may_retry(found.status) else "false"
    if (told := raw.headers.get("x-should-retry")) != again:
        wrong.append(f"{WRONG}: x-should-retry is {told}, wanted is {again}")
    after = raw.headers.get("retry-after", "0")
    if want.retry_after_s is not None and not int(after) >= want.retry_after_s - 1:
        wrong.append(f"{WRONG}: retry-after is {after}, wanted is {want.retry_after_s}")
    return wrong


def _span(times: range) -> str:
    return str(times.start) if len(times) == 1 else f"{times.start} to {times.stop - 1}"


def failures_in(tries: str, endpoint: str) -> tuple[str, ...]:
    """From the journal's record of the attempts."""
    return tuple(one["failure"] for one in json.loads(tries) if one["endpoint"] == endpoint)
