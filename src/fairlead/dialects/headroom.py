"""What an endpoint's headers say of its rate limits: whether one is used up, and until when. Pure.

An answer that used the last request or the last token says so. Whoever listens turns elsewhere
before the endpoint has to refuse. https://platform.openai.com/docs/guides/rate-limits#headers and
https://docs.anthropic.com/en/api/rate-limits#response-headers.
"""

import re
from calendar import timegm
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

Pairs = tuple[tuple[str, str], ...]

OPENAI: Pairs = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
)
ANTHROPIC: Pairs = tuple(
    (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
    for what in ("requests", "tokens", "input-tokens", "output-tokens")
)
"""Pairs of headers: how much is left of a limit, and when there is more."""
OPENAI_FIRST, OPENAI_SECOND, ANTHROPIC_FIRST = OPENAI[0][0], OPENAI[1][0], ANTHROPIC[0][0]
"""Who sends any of its pairs sends one of these."""

MOST_S = 3600.0

_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)(ms|s))?",
    re.ASCII,
)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|\+00:00)", re.ASCII
)
"""RFC 3339, in UTC."""
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def dry_for_s(headers: Mapping[str, str]) -> float | None:
    """How long until every limit that is used up has something left, at most an hour; None where
    none is, or where it is not said until when. On every answer: a few look-ups, as a rule."""
    if headers.get(OPENAI_FIRST) is not None or headers.get(OPENAI_SECOND) is not None:
        pairs = OPENAI
    elif headers.get(ANTHROPIC_FIRST) is not None:
        pairs = ANTHROPIC
    else:
        return None
    longest_s: float | None = None
    for remaining, reset in pairs:
        left = headers.get(remaining)
        if left is not None and left[:1] in ("0", "-") and _is_nothing(left):
            wait_s = _until_s(headers.get(reset, ""), headers)
            if wait_s is not None and (longest_s is None or wait_s > longest_s):
                longest_s = wait_s
    return longest_s


def _is_nothing(left: str) -> bool:
    """Some count in fractions, and some below zero."""
    try:
        return float(left) <= 0
    except ValueError:
        return False


def _until_s(reset: str, headers: Mapping[str, str]) -> float | None:
    """``6m0s``, ``20ms``, plain seconds, or a time (RFC 3339). That needs a clock, and the reply
    brings one: its own ``date``."""
    if _SECONDS.fullmatch(reset):
        wait_s = float(reset)
    elif reset and (found := _DURATION.fullmatch(reset)):
        days, hours, minutes, amount, unit = found.groups()
        wait_s = float(amount or 0) / (1000 if unit == "ms" else 1)
        wait_s += int(days or 0) * 86_400 + int(hours or 0) * 3_600 + int(minutes or 0) * 60
    elif found := _TIME.fullmatch(reset):
        try:
            now_s = parsedate_to_datetime(headers.get("date", "")).timestamp()
            then_s = timegm((*[int(part) for part in found.groups()], 0, 0, 0))
        except (ValueError, TypeError, OverflowError):
            return None
        wait_s = then_s - now_s
    else:
        return None
    return min(wait_s, MOST_S) if wait_s > 0 else None
