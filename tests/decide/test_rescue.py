"""Who goes on with a text whose stream broke, how, and what of its words is new."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from decide.pool import FLAGSHIP, MID, SMALL, ask, endpoint
from decide.test_failover import plan_of, with_last
from fairlead.decide.failover import Allowance
from fairlead.decide.rescue import (
    ANEW_CHARS,
    STALLED,
    Leg,
    Skipper,
    Went,
    is_proven,
    is_retry,
    is_text,
    may_prefill,
    next_leg,
)
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Message, OutputFormat, Text, Thinking
from fairlead.types.decision import Plan
from fairlead.types.errors import Failure, UpstreamError

# Who goes on, and how -----------------------------------------------------------------------------

A = FLAGSHIP
TWIN = endpoint("bolt", FLAGSHIP.model)
"""The same model elsewhere."""


def continuing(one: Endpoint) -> Endpoint:
    return replace(one, model=replace(one.model, can=one.model.can | {"prefill"}))


WORDS = {
    "cut": UpstreamError(Failure.STREAM_BROKEN, "the connection broke off"),
    "stalled": UpstreamError(Failure.STREAM_BROKEN, "stalled", upstream_code=STALLED),
    "error": UpstreamError(Failure.STREAM_BROKEN, "no", upstream_code="server_error"),
    "refused": UpstreamError(Failure.CALLER_FAULT, "no beginning, please"),
    "filter": UpstreamError(Failure.CONTENT_FILTER, "not this"),
    "down": UpstreamError(Failure.CONNECT, "nobody there"),
    "busy": UpstreamError(Failure.RATE_LIMIT, "later"),
    "diverged": None,
}


def story(plan: Plan, *words: str, prefills: bool = True) -> list[str]:
    """Whom each word in turn leads to; the first of them is what broke the stream."""
    leg: Leg | None = Leg(plan.attempts[0])
    went: list[Went] = []
    told: list[str] = []
    for word in words:
        assert leg is not None, told
        went.append(Went(leg, WORDS[word]))
        leg = next_leg(plan, went, prefills, len(went), 1.0)
        way = "" if leg is None else " by prefill" if leg.prefill else " again"
        told.append(f"{leg.attempt.endpoint.name}{way}" if leg else "nobody")
    return told


@pytest.mark.parametrize(
    ("endpoints", "words", "expected"),
    [
        # The one that broke says it again, and is not asked for ever.
        ((A, SMALL), ("cut",), "acme/flagship again"),
        ((A,), ("cut", "cut", "cut"), "acme/flagship again, acme/flagship again, nobody"),
        ((A, SMALL), ("cut", "cut"), "acme/flagship again, bolt/small again"),
        ((A, TWIN, SMALL), ("cut", "cut"), "acme/flagship again, bolt/flagship again"),
        # Unless it is to blame: then it comes last.
        ((A, SMALL), ("error",), "bolt/small again"),
        ((A, SMALL, TWIN), ("error",), "bolt/flagship again"),
        ((A, SMALL), ("stalled", "cut"), "bolt/small again, acme/flagship again"),
        ((A,), ("stalled", "stalled"), "acme/flagship again, nobody"),
        # Where the words differ, that model is not asked again, wherever it is.
        ((A, TWIN), ("cut", "diverged"), "acme/flagship again, nobody"),
        ((A, SMALL, MID), ("error", "diverged"), "bolt/small again, acme/mid again"),
        ((A, continuing(SMALL)), ("cut", "diverged"), "acme/flagship again, bolt/small by prefill"),
        # A model that continues is asked to; one that will not is asked again.
        ((continuing(A), SMALL), ("cut",), "acme/flagship by prefill"),
        ((A, SMALL, continuing(MID)), ("error",), "acme/mid by prefill"),
        ((continuing(A),), ("cut", "refused"), "acme/flagship by prefill, acme/flagship again"),
        ((continuing(A),), ("cut", "diverged"), "acme/flagship by prefill, acme/flagship again"),
        (
            (continuing(A),),
            ("cut", "refused", "diverged"),
            "acme/flagship by prefill, acme/flagship again, nobody",
        ),
        (
            (continuing(A), continuing(SMALL)),
            ("cut", "diverged", "diverged"),
            "acme/flagship by prefill, acme/flagship again, bolt/small by prefill",
        ),
        # Other failures keep their rules.
        ((A, SMALL), ("cut", "refused"), "acme/flagship again, bolt/small again"),
        ((A, SMALL), ("cut", "down"), "acme/flagship again, bolt/small again"),
        ((A,), ("cut", "down", "down"), "acme/flagship again, acme/flagship again, nobody"),
        ((A,), ("cut", "busy"), "acme/flagship again, nobody"),
        ((A, SMALL), ("cut", "filter"), "acme/flagship again, nobody"),
        ((A, SMALL), ("filter",), "nobody"),
    ],
)  # fmt: skip
def test_who_goes_on(endpoints: Sequence[Endpoint], words: Sequence[str], expected: str) -> None:
    assert ", ".join(story(plan_of(*endpoints), *words)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("cut", "cut", "cut"), "acme/flagship again, acme/flagship again, bolt/small again"),
        (("error", "error", "error"), "acme/flagship again, acme/flagship again, bolt/small again"),
        (("cut", "diverged"), "acme/flagship again, bolt/small again"),
    ],
)
def test_one_of_last_resort_goes_on_when_nobody_else_can(
    words: Sequence[str], expected: str
) -> None:
    assert ", ".join(story(with_last([A], [SMALL]), *words)) == expected


def test_the_one_that_broke_goes_on_though_it_was_of_last_resort() -> None:
    plan = with_last([SMALL], [A])
    went = [Went(Leg(plan.attempts[1]), WORDS["cut"])]

    assert next_leg(plan, went, True, 1, 1.0) == Leg(plan.attempts[1])


def test_whose_provider_has_said_no_meanwhile_does_not_go_on() -> None:
    plan = plan_of(A, SMALL)
    went = [Went(Leg(plan.attempts[0]), WORDS["cut"])]
    refusing = Allowance(refusing=frozenset({plan.attempts[0].key}))

    assert next_leg(plan, went, True, 1, 1.0, refusing) == Leg(plan.attempts[1])


def test_nobody_is_given_a_beginning_that_can_be_none() -> None:
    plan = plan_of(continuing(A))

    assert story(plan, "cut", prefills=False) == ["acme/flagship again"]


def test_attempts_and_time_end() -> None:
    plan = plan_of(A, SMALL, max_attempts=3, deadline_s=60.0)
    went = [Went(Leg(plan.attempts[0]), WORDS["cut"])]

    assert next_leg(plan, went, True, 2, 59.9)
    assert next_leg(plan, went, True, 3, 1.0) is None
    assert next_leg(plan, went, True, 1, 60.0) is None


def test_a_successor_stands_in_only_for_a_successor() -> None:
    plan = plan_of(A, SMALL)
    heir = replace(plan.attempts[1], stands_in=True)
    plan = replace(plan, attempts=(plan.attempts[0], heir))
    went = [Went(Leg(plan.attempts[0]), WORDS["cut"]), Went(Leg(plan.attempts[0]), None)]

    assert next_leg(plan, went, True, 2, 1.0) is None


def test_who_was_answering_is_asked_again_beyond_the_allowance_once() -> None:
    plan = plan_of(A)
    one = plan.attempts[0]
    spent = Allowance(ailing=frozenset({one.key}), spent=frozenset({one.key}))
    cut, error = Went(Leg(one), WORDS["cut"]), Went(Leg(one), WORDS["error"])

    assert next_leg(plan, [cut], True, 1, 1.0, spent)
    assert next_leg(plan, [cut, cut], True, 2, 1.0, spent) is None
    assert next_leg(plan, [error], True, 1, 1.0, spent) is None
    assert [is_proven(one, went) for went in ([cut], [cut, cut], [error])] == [True, False, False]
    refused, diverged = Went(Leg(one, True), WORDS["refused"]), Went(Leg(one))
    assert is_proven(one, [cut, refused, diverged])
    assert [is_retry(one, went, spent) for went in ([cut], [cut, cut], [error])] == [
        False,
        True,
        True,
    ]


# What is text -------------------------------------------------------------------------------------

HELLO = ask("Hello.")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, True),
        ({"bound": ("logit_bias",)}, True),
        ({"bound": ("n",)}, False),
        ({"bound": ("logprobs",)}, False),
        ({"bound": ("audio",)}, False),
        ({"bound": ("response_format.type=grammar",)}, False),
        ({"loose": ("user", "seed")}, True),
        ({"loose": ("guided_json",)}, False),
        ({"loose": ("grammar",)}, False),
        ({"output": OutputFormat("json_object")}, False),
        ({"output": OutputFormat("json_schema")}, False),
        ({"operation": "count"}, False),
    ],
)
def test_what_can_be_gone_on_with(change: dict[str, object], text: bool) -> None:
    assert is_text(replace(HELLO, **change)) is text


BEGUN = replace(HELLO, messages=(*HELLO.messages, Message("assistant", (Text("Well"),))))


@pytest.mark.parametrize(
    ("request_", "text", "may"),
    [
        (HELLO, "The line", True),
        (HELLO, "The line \n", True),
        (HELLO, " \n", False),
        (HELLO, "", False),
        (BEGUN, "The line", False),
        (replace(HELLO, thinking=Thinking(enabled=True)), "The line", False),
        (replace(HELLO, thinking=Thinking(effort="high")), "The line", False),
        (replace(HELLO, thinking=Thinking(enabled=False)), "The line", True),
    ],
)
def test_what_can_be_a_beginning(request_: object, text: str, may: bool) -> None:
    assert may_prefill(request_, text) is may  # type: ignore[arg-type]


# What is new --------------------------------------------------------------------------------------


def shown(said: str, prefill: bool, *pieces: str) -> str | None:
    """What the caller gets of a leg's words; None if they are not what was said before."""
    skipper, new = Skipper(said, prefill), ""
    for piece in pieces:
        text = skipper.take(piece)
        if text is None:
            return None
        new += text
    rest = skipper.rest() if skipper.is_done else None
    return None if rest is None else new + rest


LONG = "Grüße from the harbour: the line runs clear. ⚓"


@pytest.mark.parametrize(
    ("said", "prefill", "pieces", "expected"),
    [
        ("", False, ("ab", "c"), "abc"),
        ("ab", False, ("abc",), "c"),
        ("ab", False, ("a", "", "b", "c"), "c"),
        ("ab", False, ("ab",), ""),
        ("ab", False, ("ac",), None),
        ("ab", False, ("a",), None),
        ("ab", False, ("b",), None),
        ("ab", False, (), None),
        ("a⚓", False, ("a", "⚓b"), "b"),
        ("e\u0301", False, ("\u00e9",), None),
        ("ab", True, ("c", "d"), "cd"),
        ("ab", True, (), ""),
        ("ab \n", True, (" ", "\nc"), "c"),
        ("ab \n", True, (" c",), None),
        ("ab \n", True, ("c",), None),
        ("ab \n", True, (), ""),
        # It begins anew, though it was told to go on.
        (LONG[:30], True, (LONG[:10], LONG[10:]), None),
        (LONG[:30], True, (LONG[30:],), LONG[30:]),
        (LONG[:30], True, ("Gr", "ind"), "Grind"),
        (LONG[:30], True, ("Gr",), "Gr"),
        (LONG[:20], True, (LONG[:20],), None),
        ("T", True, ("The",), None),
        ("T", True, ("he",), "he"),
        ("a" * ANEW_CHARS + " ", True, (" ", "a" * ANEW_CHARS), "a" * ANEW_CHARS),
    ],
)
def test_only_what_is_new_is_shown(
    said: str, prefill: bool, pieces: Sequence[str], expected: str | None
) -> None:
    assert shown(said, prefill, *pieces) == expected


@given(st.text(), st.data())
@example("a\U0001f600b", None)
def test_a_text_said_again_is_whole_however_it_is_cut(
    text: str, data: st.DataObject | None
) -> None:
    at, size = (
        (data.draw(st.integers(0, len(text))), data.draw(st.integers(1, 5))) if data else (1, 1)
    )
    pieces = [text[start : start + size] for start in range(0, len(text), size)]

    new = shown(text[:at], False, *pieces)

    assert new is not None
    assert text[:at] + new == text


@given(st.text(min_size=1), st.text(), st.integers(1, 5))
def test_what_differs_is_never_shown(said: str, other: str, size: int) -> None:
    pieces = [other[start : start + size] for start in range(0, len(other), size)]

    new = shown(said, False, *pieces)

    assert new == (other.removeprefix(said) if other.startswith(said) else None)
