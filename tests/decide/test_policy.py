"""Who may be reached: every list narrows, none widens, and whatever is odd means no."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from decide.pool import ANYONE, FLAGSHIP, LOCAL, MARKET, MID, SMALL, ask, catalog, view
from fairlead.decide.policy import grant, matches, may_ask, position, route_for, rule_for, scope
from fairlead.types.catalog import Route, Rule, When
from fairlead.types.chat import Narrowing
from fairlead.types.decision import Caller, Task
from fairlead.types.errors import Forbidden, UnknownModel

EVERYTHING = catalog(
    *MARKET, aliases={"gpt": "small", "default": "auto", "auto-2": "nowhere", "mid": "small"}
)
ANY = Route(name="any", rules=(Rule(),))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("auto", "auto", id="route"),
        pytest.param("flagship", "flagship", id="model"),
        pytest.param("acme/flagship", "acme/flagship", id="endpoint"),
        pytest.param("gpt", "small", id="alias-of-a-model"),
        pytest.param("default", "auto", id="alias-of-a-route"),
        pytest.param("mid", "mid", id="a-name-that-exists-wins-over-an-alias"),
    ],
)
def test_what_was_asked_for(asked: str, expected: str) -> None:
    assert route_for(ask(model=asked), ANYONE, EVERYTHING).name == expected


def test_provider_and_upstream_name_together() -> None:
    renamed = replace(MID, name="acme/middle", upstream_model="mid-2026-01-01")
    other = replace(renamed, name="bolt/middle", provider="bolt")
    everything = catalog(renamed, other)

    route = route_for(ask(model="bolt/mid-2026-01-01"), ANYONE, everything)

    assert [one.name for one in scope(route, everything)] == ["bolt/middle"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("auto", MARKET, id="a-route-is-about-all"),
        pytest.param("small", (SMALL,), id="a-model-about-its-endpoints"),
        pytest.param("bolt/small", (SMALL,), id="an-endpoint-about-itself"),
    ],
)
def test_scope(asked: str, expected: tuple[object, ...]) -> None:
    route = route_for(ask(model=asked), ANYONE, EVERYTHING)

    assert tuple(scope(route, EVERYTHING)) == expected


@pytest.mark.parametrize(
    ("asked", "caller", "hint"),
    [
        pytest.param("flagshp", ANYONE, "did you mean flagship", id="nearest"),
        pytest.param("autoo", ANYONE, "did you mean auto", id="nearest-route"),
        pytest.param(
            "zzzzzz", ANYONE, "called 'zzzzzz'; GET /v1/models lists them", id="nothing-near"
        ),
        pytest.param("", ANYONE, "called ''", id="nothing-asked"),
        pytest.param("auto-2", ANYONE, "did you mean auto", id="alias-to-nowhere"),
        pytest.param("zeta/mid", ANYONE, "acme/mid", id="right-model-wrong-provider"),
    ],
)
def test_unknown_names(asked: str, caller: Caller, hint: str) -> None:
    with pytest.raises(UnknownModel) as told:
        route_for(ask(model=asked), caller, EVERYTHING)

    assert hint in told.value.message


@pytest.mark.parametrize(
    "caller",
    [
        pytest.param(Caller("k", "k", routes=("auto",)), id="by-routes"),
        pytest.param(Caller("k", "k", models=("small",)), id="by-models"),
        pytest.param(Caller("k", "k", zones=("local",)), id="by-zones"),
    ],
)
def test_names_that_a_caller_may_not_use_are_not_suggested(caller: Caller) -> None:
    with pytest.raises(UnknownModel) as told:
        route_for(ask(model="flagshp"), caller, EVERYTHING)

    assert "flagship" not in told.value.message


@pytest.mark.parametrize(
    ("routes", "asked", "allowed"),
    [
        pytest.param((), "auto", True, id="no-list"),
        pytest.param(("auto",), "auto", True, id="listed"),
        pytest.param(("best",), "auto", False, id="not-listed"),
        pytest.param(("au*",), "auto", True, id="any-ending"),
        pytest.param(("auto",), "default", True, id="alias-counts-as-its-name"),
        pytest.param(("default",), "auto", False, id="the-alias-listed-is-not-the-name"),
        pytest.param(("auto",), "small", False, id="a-model-is-no-route"),
        pytest.param(("auto", "small"), "small", True, id="a-model-may-be-listed"),
        pytest.param(("",), "auto", False, id="empty-pattern-allows-nothing"),
    ],
)
def test_routes_of_a_key(routes: tuple[str, ...], asked: str, allowed: bool) -> None:
    caller = Caller("k", "k", routes=routes)
    if allowed:
        route_for(ask(model=asked), caller, EVERYTHING)
        return

    with pytest.raises(Forbidden) as refused:
        route_for(ask(model=asked), caller, EVERYTHING)
    assert refused.value.message.endswith(f", but for {', '.join(routes)}")


@pytest.mark.parametrize(
    ("caller", "name", "expected"),
    [
        pytest.param(ANYONE, "auto", True, id="any-route"),
        pytest.param(ANYONE, "small", True, id="any-model"),
        pytest.param(ANYONE, "nobody", False, id="nothing-of-this-name"),
        pytest.param(Caller("k", "k", routes=("best",)), "auto", False, id="not-this-route"),
        pytest.param(Caller("k", "k", routes=("best",)), "small", False, id="nor-a-model"),
        pytest.param(Caller("k", "k", routes=("sm*",)), "small", True, id="by-its-beginning"),
        pytest.param(Caller("k", "k", models=("mid",)), "auto", True, id="a-route-is-for-all"),
        pytest.param(Caller("k", "k", models=("mid",)), "small", False, id="not-this-model"),
        pytest.param(Caller("k", "k", models=("acme/*",)), "mid", True, id="by-its-endpoint"),
        pytest.param(Caller("k", "k", models=("acme/*",)), "small", False, id="not-its-endpoint"),
        pytest.param(Caller("k", "k", zones=("local",)), "tiny", True, id="in-its-zone"),
        pytest.param(Caller("k", "k", zones=("local",)), "mid", False, id="in-no-zone-of-its"),
        pytest.param(
            Caller("k", "k", models=("mid",), zones=("local",)), "tiny", False, id="both-must-hold"
        ),
    ],
)
def test_what_a_key_is_shown(caller: Caller, name: str, expected: bool) -> None:
    assert may_ask(caller, name, EVERYTHING) is expected


TASK = Task("extract", 0.4, 1_000, 100, needs=frozenset({"tools", "image", "json_schema"}))


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        pytest.param(When(), True, id="nothing-stated"),
        pytest.param(When(tasks=("code", "extract")), True, id="task"),
        pytest.param(When(tasks=("code",)), False, id="other-task"),
        pytest.param(When(input_tokens_over=999), True, id="over"),
        pytest.param(When(input_tokens_over=1_000), False, id="not-over"),
        pytest.param(When(input_tokens_under=1_001), True, id="under"),
        pytest.param(When(input_tokens_under=1_000), False, id="not-under"),
        pytest.param(When(tools=True), True, id="tools"),
        pytest.param(When(tools=False), False, id="no-tools"),
        pytest.param(When(images=True), True, id="images"),
        pytest.param(When(images=False), False, id="no-images"),
        pytest.param(When(json=True), True, id="json"),
        pytest.param(When(json=False), False, id="no-json"),
        pytest.param(When(difficulty_over=0.3), True, id="harder"),
        pytest.param(When(difficulty_over=0.4), False, id="not-harder"),
        pytest.param(When(difficulty_under=0.5), True, id="easier"),
        pytest.param(When(difficulty_under=0.4), False, id="not-easier"),
        pytest.param(When(tasks=("extract",), tools=False), False, id="all-must-hold"),
    ],
)
def test_the_first_rule_that_holds_answers(when: When, holds: bool) -> None:
    first, second = Rule(when=when, ordered=True), Rule()

    assert rule_for(Route("r", (first, second)), TASK) == (first if holds else second)


def test_without_a_rule_there_is_no_answer() -> None:
    with pytest.raises(Forbidden, match="'r' has no rule for this request: extract"):
        rule_for(Route("r", (Rule(when=When(tasks=("code",))),)), TASK)


@pytest.mark.parametrize(
    ("caller", "route", "rule", "narrowing", "expected"),
    [
        pytest.param({}, {}, {}, {}, {"flagship", "small", "tiny"}, id="no-list-allows-all"),
        pytest.param({"models": ("small",)}, {}, {}, {}, {"small"}, id="models-of-the-key"),
        pytest.param({"zones": ("local",)}, {}, {}, {}, {"tiny"}, id="zones-of-the-key"),
        pytest.param({}, {"zones": ("local",)}, {}, {}, {"tiny"}, id="zones-of-the-route"),
        pytest.param({}, {}, {"models": ("acme/*",)}, {}, {"flagship"}, id="models-of-the-rule"),
        pytest.param({}, {}, {}, {"zones": ("cloud",)}, {"flagship", "small"}, id="zones-asked"),
        pytest.param({}, {}, {}, {"models": ("tiny", "small")}, {"tiny", "small"}, id="models"),
        pytest.param(
            {"zones": ("local",)}, {"zones": ("cloud",)}, {}, {}, set(), id="zones-intersect"
        ),
        pytest.param(
            {"zones": ("local",)}, {}, {}, {"zones": ("cloud", "local")}, {"tiny"}, id="never-widen"
        ),
        pytest.param(
            {"models": ("small",)}, {}, {}, {"models": ("*",)}, {"small"}, id="a-star-neither"
        ),
        pytest.param({"models": ("",)}, {}, {}, {}, set(), id="empty-pattern"),
        pytest.param({"zones": ("",)}, {}, {}, {}, set(), id="empty-zone"),
    ],
)
def test_grant(
    caller: dict[str, tuple[str, ...]],
    route: dict[str, tuple[str, ...]],
    rule: dict[str, tuple[str, ...]],
    narrowing: dict[str, tuple[str, ...]],
    expected: set[str],
) -> None:
    now = view(catalog=catalog(FLAGSHIP, SMALL, LOCAL, routes=(ANY,)))
    allowed, rejected = grant(
        ask(model="any", narrowing=Narrowing(**narrowing)),  # type: ignore[arg-type]
        Caller("k", "k", **caller),  # type: ignore[arg-type]
        replace(ANY, **route),
        Rule(**rule),  # type: ignore[arg-type]
        now,
    )

    assert {name.split("/")[1] for name in allowed.endpoints} == expected
    assert len(allowed.endpoints) + len(rejected) == 3


@pytest.mark.parametrize(
    ("caller", "narrowing", "rule", "reason"),
    [
        (
            Caller("k", "k", models=("x",)),
            Narrowing(),
            "policy",
            "not on the model list of this key",
        ),
        (ANYONE, Narrowing(models=("x",)), "model_list", "not on the model list of the request"),
        (
            ANYONE,
            Narrowing(zones=("eu",)),
            "zone",
            "zone 'cloud' is not among those of the request",
        ),
    ],
    ids=["policy", "model_list", "zone"],
)
def test_why_not(caller: Caller, narrowing: Narrowing, rule: str, reason: str) -> None:
    now = view(catalog=catalog(MID, routes=(ANY,)))

    _, rejected = grant(ask(narrowing=narrowing), caller, ANY, Rule(), now)

    assert [(one.endpoint, one.rule) for one in rejected] == [("acme/mid", rule)]
    assert rejected[0].reason.startswith(reason)


def test_an_endpoint_without_a_zone_is_in_none() -> None:
    nowhere = replace(MID, zone="")
    now = view(catalog=catalog(nowhere, routes=(ANY,)))

    allowed, _ = grant(ask(), Caller("k", "k", zones=("", "cloud")), ANY, Rule(), now)

    assert allowed.endpoints == frozenset()


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("small", "small", True),
        ("small", "smaller", False),
        ("small*", "smaller", True),
        ("*", "anything", True),
        ("*", "", True),
        ("s*l", "small", False),
        ("", "small", False),
        ("Small", "small", False),
    ],
)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("mid",), 0),
        (("x", "acme/mid"), 1),
        (("x", "mid-2026*"), 1),
        (("x",), None),
        ((), None),
    ],
    ids=["model", "endpoint", "upstream", "none", "empty"],
)
def test_position(patterns: tuple[str, ...], expected: int | None) -> None:
    assert position(replace(MID, upstream_model="mid-2026-01-01"), patterns) == expected


names = st.lists(st.sampled_from(["small", "mid", "acme/*", "*", "", "eu", "local", "cloud"]))


@given(names, names, names, names, names)
def test_nothing_widens(
    models: list[str], zones: list[str], listed: list[str], asked: list[str], asked_zones: list[str]
) -> None:
    """Promise 3: whatever a request asks for, it gets a part of what it would get unasked."""
    now = view(catalog=catalog(*MARKET, routes=(ANY,)))
    caller = Caller("k", "k", models=tuple(models), zones=tuple(zones))
    rule = Rule(models=tuple(listed))
    narrowing = Narrowing(models=tuple(asked), zones=tuple(asked_zones))

    unasked, _ = grant(ask(), caller, ANY, rule, now)
    narrowed, _ = grant(ask(narrowing=narrowing), caller, ANY, rule, now)
    everyone, _ = grant(ask(), ANYONE, ANY, rule, now)

    assert narrowed.endpoints <= unasked.endpoints <= everyone.endpoints
