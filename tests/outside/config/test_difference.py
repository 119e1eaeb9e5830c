"""What a new catalogue changes, in lines."""

from collections.abc import Sequence

import msgspec
import pytest

from fairlead.outside.config import difference
from fairlead.types.catalog import (
    Catalog,
    Endpoint,
    Model,
    Price,
    Rates,
    Route,
    Rule,
    Secret,
    Shift,
    Tier,
    Timeouts,
    Weights,
    When,
)

MODEL = Model("gemma")
HOUSE = Endpoint("house/gemma", "house", MODEL, "gemma", "openai_chat", "http://127.0.0.1:1")
OTHER = msgspec.structs.replace(HOUSE, name="house/phi", model=Model("phi"))
AUTO = Route("auto", rules=(Rule(weights=Weights(5, 3, 2)),))


def of(*endpoints: Endpoint, routes: tuple[Route, ...] = (), baseline: str = "") -> Catalog:
    return Catalog(
        endpoints=endpoints, routes={route.name: route for route in routes}, baseline=baseline
    )


def test_nothing_changed() -> None:
    assert difference(of(HOUSE, routes=(AUTO,)), of(HOUSE, routes=(AUTO,))) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(of(HOUSE), of(HOUSE, OTHER), "+ endpoint house/phi", id="endpoint came"),
        pytest.param(of(HOUSE, OTHER), of(HOUSE), "- endpoint house/phi", id="endpoint went"),
        pytest.param(of(), of(HOUSE), "+ provider house: 1 endpoint", id="provider came"),
        pytest.param(of(HOUSE, OTHER), of(), "- provider house: 2 endpoints", id="provider went"),
        pytest.param(of(), of(routes=(AUTO,)), "+ route auto", id="route came"),
        pytest.param(of(routes=(AUTO,)), of(), "- route auto", id="route went"),
        pytest.param(of(), of(baseline="gemma"), "~ baseline: none -> gemma", id="baseline"),
    ],
)
def test_what_came_and_went(old: Catalog, new: Catalog, expected: str) -> None:
    assert difference(old, new) == (expected,)


RATES = Rates(input=250_000, output=2_000_000)
PRICE = Price(rates=RATES, source="test")


CHANGES: Sequence[tuple[dict[str, object], str]] = (
    ({"upstream_model": "g2"}, "name there gemma -> g2"),
    ({"dialect": "anthropic_messages"}, "dialect openai_chat -> anthropic_messages"),
    ({"base_url": "http://[::1]"}, "address http://127.0.0.1:1 -> http://[::1]"),
    ({"signer": "bearer"}, "signer none -> bearer"),
    ({"secrets": (Secret("env:A", env="A"),)}, "credentials none -> env:A"),
    ({"zone": "local"}, "zone cloud -> local"),
    ({"simulated": True}, "simulated False -> True"),
    ({"timeouts": Timeouts(stall_s=9)}, "timeouts 5s/30s/20s -> 5s/30s/9s"),
    ({"expected_first_token_ms": 90.0}, "expected first token 800ms -> 90ms"),
    ({"expected_tokens_per_s": 9.5}, "expected speed 60 tokens/s -> 9.5 tokens/s"),
    ({"context_tokens": 8_000}, "context unknown -> 8000"),
    ({"max_output_tokens": 800}, "max output unknown -> 800"),
    ({"accepts": frozenset({"text", "image"})}, "accepts text -> image, text"),
    ({"can": frozenset({"tools"})}, "capabilities sampling, stream, system -> tools"),
    ({"prices": (PRICE,)}, "price unknown -> input $0.25 output $2 (test)"),
    ({"strength": 0.75}, "strength 0.5 -> 0.75"),
    ({"open_weights": True}, "open weights False -> True"),
    ({"released": "2026-09-01"}, "released unknown -> 2026-09-01"),
    ({"retires": "2027-01-01"}, "retires never -> 2027-01-01"),
    ({"successor": "gemma-5"}, "successor none -> gemma-5"),
    ({"shift": Shift(0.05, 60.0)}, "shift none -> 5% over 60s"),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    CHANGES,
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_how_an_endpoint_changed(change: dict[str, object], expected: str) -> None:
    of_model = change.keys() <= set(Model.__struct_fields__)
    changed = (
        msgspec.structs.replace(HOUSE, model=msgspec.structs.replace(MODEL, **change))
        if of_model
        else msgspec.structs.replace(HOUSE, **change)
    )

    assert difference(of(HOUSE), of(changed)) == (f"~ endpoint house/gemma: {expected}",)


def test_every_field_that_can_change_is_told() -> None:
    """The table above names them all, but for the names that make a thing the same thing."""
    told = {field for change, _ in CHANGES for field in change}

    assert told == {*Endpoint.__struct_fields__, *Model.__struct_fields__} - {
        *("name", "provider", "model")
    }


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (Price(rates=Rates(input=1)), "input $0.000001 (unknown)"),
        (Price(rates=Rates(input=0), source="local"), "input $0 (local)"),
        (
            Price(rates=RATES, effective_from="2027-01-01", source="t"),
            "input $0.25 output $2 from 2027-01-01 (t)",
        ),
        (
            Price(tiers=(Tier(200_000, Rates(input=3_000_000)),), source="t"),
            "above 200000 input $3 (t)",
        ),
        (
            Price(effective_from="2027-01-01", effective_until="2028-01-01", source="t"),
            "from 2027-01-01 until 2028-01-01 (t)",
        ),
    ],
    ids=["tiny", "free", "later", "tier", "dates"],
)
def test_prices_are_told_to_the_last_digit(price: Price, expected: str) -> None:
    priced = msgspec.structs.replace(MODEL, prices=(price,))

    (line,) = difference(of(HOUSE), of(msgspec.structs.replace(HOUSE, model=priced)))

    assert line == f"~ endpoint house/gemma: price unknown -> {expected}"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (Route("auto", rules=(Rule(),)), "weights 5/3/2 -> 1/1/1"),
        (
            Route("auto", rules=(Rule(models=("a", "b"), ordered=True),)),
            "models all -> a, b, weights 5/3/2 -> in order",
        ),
        (
            Route("auto", rules=(*AUTO.rules, Rule(weights=Weights(1, 0, 0)))),
            "rule 2 when none -> always, rule 2 models none -> all, rule 2 weights none -> 1/0/0",
        ),
        (
            Route(
                "auto",
                rules=(
                    Rule(
                        when=When(tasks=("code",), tools=False, input_tokens_over=9),
                        weights=Weights(5, 3, 2),
                    ),
                ),
            ),
            "when always -> tasks code, input_tokens_over 9, tools False",
        ),
        (msgspec.structs.replace(AUTO, zones=("local",)), "zones any -> local"),
        (msgspec.structs.replace(AUTO, max_attempts=1), "attempts 3 -> 1"),
        (msgspec.structs.replace(AUTO, deadline_s=60.0), "deadline 600s -> 60s"),
        (msgspec.structs.replace(AUTO, description="x"), "description none -> x"),
    ],
    ids=["weights", "order", "rule", "when", "zones", "attempts", "deadline", "description"],
)
def test_how_a_route_changed(new: Route, expected: str) -> None:
    assert difference(of(routes=(AUTO,)), of(routes=(new,))) == (f"~ route auto: {expected}",)


def test_several_changes_are_one_line_each_thing() -> None:
    changed = msgspec.structs.replace(HOUSE, zone="local", signer="bearer")

    assert difference(of(HOUSE, routes=(AUTO,)), of(changed, OTHER)) == (
        "~ endpoint house/gemma: zone cloud -> local, signer none -> bearer",
        "+ endpoint house/phi",
        "- route auto",
    )
