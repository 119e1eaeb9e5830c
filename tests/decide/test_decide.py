"""The five steps together: pure, narrow, and always able to say why."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.pool import (
    ANYONE,
    MARKET,
    MID,
    SMALL,
    WIDE,
    ask,
    catalog,
    changed,
    endpoint,
    keyed,
    model,
    view,
)
from fairlead.decide import consider, decide
from fairlead.decide.explain import as_json
from fairlead.decide.failover import Tried, next_attempt
from fairlead.types.catalog import Endpoint, Route, Rule, When
from fairlead.types.chat import Narrowing
from fairlead.types.decision import Caller, Plan, Vitals
from fairlead.types.errors import Failure, Forbidden, UnknownModel, UpstreamError

HARD = "Analyse the trade-offs of event sourcing for a distributed ledger."


def test_everyone_is_accounted_for() -> None:
    considered = consider(ask(narrowing=Narrowing(zones=("cloud",))), ANYONE, view())
    named = [one.endpoint.name for one in considered.attempts]
    named += [one.endpoint for one in considered.rejected]

    assert sorted(named) == sorted(one.name for one in MARKET)


def test_a_plan_never_leaves_its_grant() -> None:
    plan = decide(ask(), Caller("k", "k", zones=("local",)), view())

    assert {one.endpoint.name for one in plan.attempts} <= plan.grant.endpoints == {"house/tiny"}


def test_a_model_by_name_is_answered_by_that_model() -> None:
    plan = decide(ask(HARD, model="small"), ANYONE, view())

    assert plan.route == "small"
    assert [one.endpoint for one in plan.attempts] == [SMALL]


def test_rules_of_a_route_answer_by_task() -> None:
    route = Route(
        name="mixed",
        rules=(
            Rule(when=When(difficulty_over=0.6), ordered=True, models=("flagship", "mid")),
            Rule(models=("small", "tiny")),
        ),
    )
    now = view(catalog=catalog(*MARKET, routes=(route,)))

    hard, easy = (decide(ask(text, model="mixed"), ANYONE, now) for text in (HARD, "hello"))

    assert [one.endpoint.model.name for one in hard.attempts] == ["flagship", "mid"]
    assert [one.endpoint.model.name for one in easy.attempts] == ["small", "tiny"]


def test_a_sick_endpoint_loses_to_a_healthy_one() -> None:
    sick = {("bolt/small", ""): Vitals(success=0.5)}

    assert decide(ask(), ANYONE, view(SMALL, MID)).attempts[0].endpoint is SMALL
    assert decide(ask(), ANYONE, view(SMALL, MID, vitals=sick)).attempts[0].endpoint is MID


def test_two_credentials_are_two_attempts() -> None:
    plan = decide(ask(), ANYONE, view(keyed(MID, "key-1", "key-2")))

    assert [one.key for one in plan.attempts] == [("acme/mid", "key-1"), ("acme/mid", "key-2")]


@pytest.mark.parametrize(
    ("request_", "caller", "error"),
    [
        (ask(model="gpt-99"), ANYONE, UnknownModel),
        (ask(model="auto"), Caller("k", "k", routes=("best",)), Forbidden),
    ],
    ids=["unknown", "not-allowed"],
)
def test_without_a_route_there_is_nothing_to_consider(
    request_: object, caller: Caller, error: type[Exception]
) -> None:
    with pytest.raises(error):
        consider(request_, caller, view())  # type: ignore[arg-type]


@given(st.text(max_size=300), st.sampled_from(["auto", "best", "cheap", "fast"]))
def test_same_inputs_same_plan(text: str, route: str) -> None:
    first, second = (decide(ask(text, model=route), ANYONE, view()) for _ in range(2))

    assert as_json(first) == as_json(second)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from decide.pool import ANYONE, ask, view
from fairlead.decide import decide
from fairlead.decide.explain import as_json
sys.stdout.buffer.write(as_json(decide(ask(sys.argv[2]), ANYONE, view())))
"""


def test_same_plan_in_every_process() -> None:
    """Words are found through sets, whose order differs from one process to the next."""
    text = "Analyse, prove and calculate: plan the design of a Python class, why, if so."
    told = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), text],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(told) == 1


OLD = endpoint("acme", model("old", successor="mid"))
TWIN = endpoint("bolt", model("old", successor="mid"))
MODEL_GONE = UpstreamError(Failure.MODEL_GONE, "no longer available")
BROKEN = UpstreamError(Failure.TRANSIENT, "it broke")


def followed(plan: Plan, *errors: UpstreamError) -> list[str]:
    """Who is asked, in order, when each attempt ends like this."""
    tried: list[Tried] = []
    story = []
    for error in (*errors, None):
        attempt = next_attempt(plan, tried, 0.0, False)
        if attempt is None:
            break
        story.append(attempt.endpoint.name)
        if error is not None:
            tried.append(Tried(attempt, error))
    return story


@pytest.mark.parametrize(
    ("errors", "story"),
    [
        ((MODEL_GONE,), ["acme/old", "bolt/old"]),
        ((MODEL_GONE, MODEL_GONE), ["acme/old", "bolt/old", "acme/mid"]),
        ((BROKEN, MODEL_GONE), ["acme/old", "bolt/old", "acme/mid"]),
        ((BROKEN, BROKEN), ["acme/old", "bolt/old", "bolt/old"]),
    ],
    ids=["its twin comes first", "then the successor", "one gone is enough", "not for a mishap"],
)
def test_the_successor_of_a_named_model_takes_over_once_that_is_gone(
    errors: tuple[UpstreamError, ...], story: list[str]
) -> None:
    plan = decide(ask(model="old"), ANYONE, view(OLD, TWIN, MID, SMALL))

    assert followed(plan, *errors) == story


def test_a_model_known_to_be_gone_is_answered_by_its_successor() -> None:
    gone = {("acme/old", ""): Vitals(retired=True)}

    plan = decide(ask(model="old"), ANYONE, view(OLD, MID, SMALL, vitals=gone))

    assert [one.endpoint for one in plan.attempts] == [MID]
    assert plan.reason.endswith("successor of old, which is retired")


def test_past_its_last_day_a_model_is_answered_by_its_successor() -> None:
    past = changed(OLD, retires="2026-05-31")

    assert decide(ask(model="old"), ANYONE, view(past, MID)).attempts[0].endpoint is MID


@pytest.mark.parametrize(
    ("asked", "caller", "vitals"),
    [
        ("old", ANYONE, Vitals(gate_until_s=1_001.0, asked_until_s=1_001.0)),
        ("acme/old", ANYONE, Vitals(retired=True)),
        ("old", Caller("k", "k", models=("old",)), Vitals(retired=True)),
    ],
    ids=["it is only busy", "an endpoint is meant alone", "the key may not use it"],
)
def test_no_successor_steps_in_where(asked: str, caller: Caller, vitals: Vitals) -> None:
    considered = consider(
        ask(model=asked), caller, view(OLD, MID, vitals={("acme/old", ""): vitals})
    )

    assert considered.attempts == ()


# Of last resort: those whom only breakers and forecasts stand in the way of.

OPEN = Vitals(state="open")
WORSE = Vitals(state="open", success=0.3)
DRY = Vitals(gate_until_s=1_009.0, success=0.2)
WAITING = Vitals("open", gate_until_s=1_001.0, asked_until_s=1_001.0)
GONE = Vitals("open", retired=True)
BREAKER, USED_UP = "breaker is open", "rate limit used up for 9.0 s"
TWO_KEYS = keyed(MID, "one", "two")


@pytest.mark.parametrize(
    ("asked", "endpoints", "vitals", "expected", "left_out"),
    [
        # While anybody is well, behind all who are.
        ("auto", [MID, SMALL], {MID: OPEN}, {SMALL: "", MID: BREAKER}, []),
        ("auto", [MID, SMALL], {SMALL: OPEN}, {MID: "", SMALL: BREAKER}, []),
        ("auto", [MID, SMALL], {MID: DRY}, {SMALL: "", MID: USED_UP}, []),
        ("auto", [MID, SMALL], {MID: WAITING}, {SMALL: ""}, [MID]),
        ("auto", [MID, SMALL], {MID: GONE}, {SMALL: ""}, [MID]),
        ("auto", [MID, SMALL], {MID: Vitals("half_open")}, {SMALL: "", MID: ""}, []),
        (
            "auto",
            [MID, SMALL, WIDE],
            {MID: WORSE, SMALL: OPEN},
            {WIDE: "", SMALL: BREAKER, MID: BREAKER},
            [],
        ),
        ("old", [OLD, MID], {MID: OPEN}, {OLD: "", MID: BREAKER}, []),
        # Where nobody is: who fails least comes first.
        ("mid", [MID], {MID: OPEN}, {MID: BREAKER}, []),
        ("auto", [MID, SMALL], {MID: WORSE, SMALL: OPEN}, {SMALL: BREAKER, MID: BREAKER}, []),
        ("auto", [MID, SMALL], {MID: OPEN, SMALL: WORSE}, {MID: BREAKER, SMALL: BREAKER}, []),
        ("auto", [MID, SMALL], {MID: OPEN, SMALL: GONE}, {MID: BREAKER}, [SMALL]),
        ("auto", [MID, SMALL], {MID: OPEN, SMALL: WAITING}, {MID: BREAKER}, [SMALL]),
        ("auto", [MID, SMALL], {MID: OPEN, SMALL: DRY}, {SMALL: USED_UP, MID: BREAKER}, []),
        # A successor of a model only once that is gone.
        ("old", [OLD, MID], {OLD: OPEN, MID: OPEN}, {OLD: BREAKER}, []),
        ("old", [OLD, MID], {OLD: GONE, MID: OPEN}, {MID: BREAKER}, [OLD]),
        ("old", [OLD, TWIN, MID], {OLD: GONE, TWIN: OPEN}, {MID: "", TWIN: BREAKER}, [OLD]),
    ],
)  # fmt: skip
def test_who_is_asked_as_a_last_resort(
    asked: str,
    endpoints: list[Endpoint],
    vitals: dict[Endpoint, Vitals],
    expected: dict[Endpoint, str],
    left_out: list[Endpoint],
) -> None:
    known = {(one.name, ""): of for one, of in vitals.items()}
    plan = decide(ask(model=asked), ANYONE, view(*endpoints, vitals=known))

    assert [(one.endpoint, one.last_resort) for one in plan.attempts] == list(expected.items())
    assert [one.endpoint for one in plan.rejected] == [one.name for one in left_out]
    totals = [one.score.total for one in plan.attempts if one.last_resort]
    better = [one.score.total for one in plan.attempts if not one.last_resort]
    assert max([0.0, *totals]) <= min([1.0, *better]) / (2 if better else 1)
    nobody_is_well = plan.attempts[0].last_resort != ""
    assert plan.reason.endswith("the least bad where nobody is well") == nobody_is_well


def test_each_credential_for_itself() -> None:
    key = TWO_KEYS.name, "two"
    plan = decide(ask(), ANYONE, view(TWO_KEYS, vitals={key: OPEN}))

    assert [(one.key[1], one.last_resort) for one in plan.attempts] == [
        ("one", ""),
        ("two", "two: breaker is open"),
    ]
    assert plan.rejected == ()
    assert plan.reason.endswith("the only candidate left")


def test_who_opens_again_while_it_comes_back_is_of_last_resort_and_no_more_just_back() -> None:
    key = SMALL.name, ""
    plan = decide(ask(), ANYONE, view(MID, SMALL, vitals={key: OPEN}, shares={key: 0.5}))

    assert [one.endpoint for one in plan.attempts] == [MID, SMALL]
    assert "just back" not in plan.reason


def test_what_policy_forbids_is_no_last_resort() -> None:
    narrow = Caller("k", "k", models=("small",))
    down = {("acme/mid", ""): OPEN, ("bolt/small", ""): OPEN}
    plan = decide(ask(), narrow, view(MID, SMALL, vitals=down))

    assert [one.endpoint for one in plan.attempts] == [SMALL]
