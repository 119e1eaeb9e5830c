"""When nobody is left: whose fault, and what would help."""

from collections.abc import Mapping
from typing import Any

import pytest

from decide.pool import (
    ANYONE,
    EMBEDDER,
    FLAGSHIP,
    LOCAL,
    MID,
    SMALL,
    ask,
    catalog,
    changed,
    keyed,
    view,
)
from fairlead.decide import consider, decide
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Image, Message, Narrowing, OutputFormat, Request
from fairlead.types.decision import Caller, Vitals
from fairlead.types.errors import (
    BadRequest,
    ContextTooLong,
    Forbidden,
    GatewayError,
    OverBudget,
    Unavailable,
)

GONE = changed(MID, retires="2026-01-01")
BUSY = {("acme/mid", ""): Vitals(gate_until_s=1_005.0, asked_until_s=1_005.0)}
PICTURE = ask(messages=(Message("user", (Image(data="aa"),)),))
UNPRICED = changed(MID, prices=())


@pytest.mark.parametrize(
    ("endpoints", "request_", "caller", "facts", "error", "message"),
    [
        pytest.param(
            (),
            ask(),
            ANYONE,
            {},
            Unavailable,
            "nothing serves 'auto': there is no endpoint at all",
            id="no-endpoints",
        ),
        pytest.param(
            (MID, SMALL, LOCAL),
            ask(narrowing=Narrowing(models=("tiny",))),
            Caller("k", "k", zones=("cloud",)),
            {},
            Forbidden,
            "no endpoint of 'auto' is permitted: model_list removed 2, zone removed 1: not on the"
            " model list of the request (2 endpoints); zone 'local' is not among those of this key:"
            " cloud",
            id="lists-removed-all",
        ),
        pytest.param(
            (MID,),
            ask(),
            Caller("k", "k", models=("x",)),
            {},
            Forbidden,
            "no endpoint of 'auto' is permitted: policy removed 1: not on the model list of this"
            " key",
            id="policy-removed-all",
        ),
        pytest.param(
            (MID, SMALL, LOCAL),
            PICTURE,
            Caller("k", "k", zones=("cloud",)),
            {},
            BadRequest,
            "no permitted endpoint can take this request: takes no image (2 endpoints)",
            id="no-modality",
        ),
        pytest.param(
            (LOCAL, EMBEDDER),
            ask(output=OutputFormat("json_schema")),
            ANYONE,
            {},
            BadRequest,
            "no permitted endpoint can take this request: has no json_schema; only embeds",
            id="no-capability",
        ),
        pytest.param(
            (GONE, LOCAL),
            ask(output=OutputFormat("json_schema")),
            ANYONE,
            {},
            Unavailable,
            "no endpoint of 'auto' is available now: mid was retired on 2026-01-01",
            id="past-its-life",
        ),
        pytest.param(
            (MID, SMALL, GONE),
            ask("x" * 800_000),
            ANYONE,
            {},
            ContextTooLong,
            "about 210,205 tokens are needed, input and answer together; the largest permitted"
            " model holds 200,000",
            id="too-long",
        ),
        pytest.param(
            (MID, LOCAL, changed(SMALL, context_tokens=100)),
            ask(max_output_tokens=70_000),
            ANYONE,
            {},
            ContextTooLong,
            "70,000 tokens of output were asked for; the longest answer of a permitted model has"
            " 64,000",
            id="answer-too-long",
        ),
        pytest.param(
            (MID, FLAGSHIP),
            ask(narrowing=Narrowing(max_cost_nano_usd=1)),
            ANYONE,
            {},
            BadRequest,
            "no permitted endpoint keeps within the request's limits: acme/mid would cost"
            " 0.002022 USD, at most 0.000000001 is wished; acme/flagship would cost 0.005055 USD,"
            " at most 0.000000001 is wished",
            id="all-too-dear",
        ),
        pytest.param(
            (UNPRICED,),
            ask(narrowing=Narrowing(max_cost_nano_usd=1)),
            ANYONE,
            {},
            BadRequest,
            "no permitted endpoint keeps within the request's limits: acme/mid has no known"
            " price, and a limit needs one",
            id="unknown-price-under-a-limit",
        ),
        pytest.param(
            (UNPRICED,),
            ask(),
            ANYONE,
            {"affordable_nano_usd": 5_000_000_000},
            OverBudget,
            "the budget has 5 USD left, which affords no answer: has no known price, and a budget"
            " needs one",
            id="unknown-price-under-a-budget",
        ),
        pytest.param(
            (MID,),
            ask(),
            ANYONE,
            {"affordable_nano_usd": -7},
            OverBudget,
            "the budget has 0 USD left, which affords no answer: may cost 0.002582 USD, the budget"
            " has 0 left",
            id="over-budget",
        ),
        pytest.param(
            (MID,),
            ask(narrowing=Narrowing(max_latency_ms=10)),
            ANYONE,
            {},
            BadRequest,
            "no permitted endpoint keeps within the request's limits: acme/mid would take"
            " 3,400 ms, at most 10 are wished",
            id="all-too-slow",
        ),
        pytest.param(
            (MID,),
            ask(),
            ANYONE,
            {"vitals": {("acme/mid", ""): Vitals(retired=True)}},
            Unavailable,
            "no endpoint of 'auto' is available now: its provider says that it is gone",
            id="gone-at-its-provider",
        ),
        pytest.param(
            (MID, changed(SMALL, context_tokens=100), LOCAL),
            ask(narrowing=Narrowing(zones=("cloud",))),
            ANYONE,
            {"vitals": BUSY},
            Unavailable,
            "no endpoint of 'auto' is available now: asks to wait 5.0 s",
            id="whoever-came-closest-tells",
        ),
    ],
)
def test_refusals(
    endpoints: tuple[Endpoint, ...],
    request_: Request,
    caller: Caller,
    facts: Mapping[str, Any],
    error: type[GatewayError],
    message: str,
) -> None:
    now = view(catalog=catalog(*endpoints), **facts)

    with pytest.raises(error) as told:
        decide(request_, caller, now)

    assert told.value.message == message
    assert consider(request_, caller, now).attempts == ()


@pytest.mark.parametrize(
    ("narrowing", "param"),
    [
        (Narrowing(max_cost_nano_usd=1), "max_cost"),
        (Narrowing(max_latency_ms=1), "max_latency"),
    ],
    ids=["cost", "latency"],
)
def test_the_limit_to_change_is_named(narrowing: Narrowing, param: str) -> None:
    with pytest.raises(BadRequest) as told:
        decide(ask(narrowing=narrowing), ANYONE, view(MID))

    assert told.value.param == param


def test_when_to_try_again() -> None:
    one = keyed(MID, "a", "b")
    gates = {"a": 1_004.0, "b": 1_002.5}
    vitals = {
        ("acme/mid", key): Vitals(gate_until_s=until_s, asked_until_s=until_s)
        for key, until_s in gates.items()
    }

    with pytest.raises(Unavailable) as told:
        decide(ask(), ANYONE, view(one, vitals=vitals))

    assert told.value.retry_after_s == 2.5
    assert told.value.retryable


def test_of_what_is_gone_nobody_knows_when() -> None:
    with pytest.raises(Unavailable) as told:
        decide(ask(), ANYONE, view(MID, vitals={("acme/mid", ""): Vitals(retired=True)}))

    assert told.value.retry_after_s is None
