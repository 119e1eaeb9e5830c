"""Headers of rate limits: what counts as used up, and until when."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.dialects.headroom import ANTHROPIC, OPENAI, dry_for_s

NOW = "Thu, 26 Nov 2026 03:00:00 GMT"
IN_A_MINUTE = "2026-11-26T03:01:00Z"


def openai(left: str, reset: str, what: str = "requests") -> dict[str, str]:
    return {f"x-ratelimit-remaining-{what}": left, f"x-ratelimit-reset-{what}": reset}


def anthropic(left: str, reset: str, what: str = "requests") -> dict[str, str]:
    first = {"anthropic-ratelimit-requests-remaining": "9", "date": NOW}
    pair = {
        f"anthropic-ratelimit-{what}-remaining": left,
        f"anthropic-ratelimit-{what}-reset": reset,
    }
    return first | pair


@pytest.mark.parametrize(
    ("headers", "dry_s"),
    [
        pytest.param({}, None, id="none"),
        pytest.param(openai("1", "6m0s"), None, id="one is left"),
        pytest.param(openai("059", "6m0s"), None, id="many are left"),
        pytest.param(openai("0", "6m0s"), 360, id="minutes"),
        pytest.param(openai("0", "20ms"), 0.02, id="milliseconds"),
        pytest.param(openai("0", "7.66s"), 7.66, id="fractions"),
        pytest.param(openai("0", "1h0m1s"), 3600, id="an hour at most"),
        pytest.param(openai("0", "2d"), 3600, id="days"),
        pytest.param(openai("0", "12"), 12, id="plain seconds"),
        pytest.param(openai("0.0", "2s"), 2, id="no fraction of one"),
        pytest.param(openai("0.4", "2s"), None, id="a fraction of one"),
        pytest.param(openai("-3", "2s"), 2, id="less than none"),
        pytest.param(openai("0", "0s"), None, id="over already"),
        pytest.param(openai("0", ""), None, id="until nobody knows when"),
        pytest.param(openai("0", "soon"), None, id="a word"),
        pytest.param(openai("0x", "2s"), None, id="not a number"),
        pytest.param(openai("0", "3s", "tokens"), 3, id="tokens alone"),
        pytest.param(
            openai("0", "1s") | openai("0", "9s", "tokens"), 9, id="both: the later counts"
        ),
        pytest.param(
            openai("0", "1s") | openai("7", "9s", "tokens"), 1, id="what is left does not count"
        ),
        pytest.param(anthropic("0", IN_A_MINUTE), 60, id="a time"),
        pytest.param(anthropic("0", IN_A_MINUTE, "input-tokens"), 60, id="of input"),
        pytest.param(anthropic("0", IN_A_MINUTE, "output-tokens"), 60, id="of output"),
        pytest.param(anthropic("5", IN_A_MINUTE), None, id="some are left"),
        pytest.param(anthropic("0", "2026-11-26T02:59:00Z"), None, id="a time gone by"),
        pytest.param(anthropic("0", "2026-11-26T03:01:00"), None, id="a time without a zone"),
        pytest.param(anthropic("0", "2026-11-26T03:01:00.5+00:00"), 60, id="a time in UTC"),
        pytest.param(anthropic("0", "2026-99-26T03:01:00Z"), None, id="no such month"),
        pytest.param(anthropic("0", "0000-01-01T00:00:00Z"), None, id="no such year"),
        pytest.param(anthropic("0", "2026-02-31T99:99:99Z"), None, id="no such day"),
        pytest.param(anthropic("0", IN_A_MINUTE) | {"date": ""}, None, id="a time and no clock"),
        pytest.param(
            anthropic("0", IN_A_MINUTE) | {"date": NOW.replace("GMT", "+" + "9" * 20)},
            None,
            id="a clock from beyond all zones",
        ),
    ],
)
def test_what_is_used_up(headers: Mapping[str, str], dry_s: float | None) -> None:
    assert dry_for_s(headers) == dry_s


names = st.sampled_from([name for pair in OPENAI + ANTHROPIC for name in pair] + ["date"])
values = st.text(max_size=12) | st.from_regex(r"-?[0-9.dhms]{0,9}") | st.just(IN_A_MINUTE)


@given(st.dictionaries(names, values))
def test_whatever_is_said_a_wait_is_bounded(headers: Mapping[str, str]) -> None:
    dry_s = dry_for_s(headers)

    assert dry_s is None or 0 < dry_s <= 3600
