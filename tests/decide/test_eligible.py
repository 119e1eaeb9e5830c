"""Hard constraints: one fact of a small market is flipped at a time."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from decide.pool import (
    CHAT_ABILITIES,
    EMBEDDER,
    FLAGSHIP,
    LOCAL,
    MID,
    SMALL,
    ask,
    changed,
    keyed,
    priced,
    view,
)
from fairlead.decide.classify import classify
from fairlead.decide.eligible import Offer, eligible, room_needed
from fairlead.types.catalog import Endpoint, Price, Rates, Tier
from fairlead.types.chat import (
    Foreign,
    Image,
    Message,
    Narrowing,
    OutputFormat,
    Request,
    Text,
    Tool,
)
from fairlead.types.decision import Grant, Rejected, View, Vitals

ANTHROPIC = replace(MID, dialect="anthropic_messages")
TOOL = Tool(name="search", description="", schema={})
OPEN, HALF = Vitals(state="open"), Vitals(state="half_open")


def offered(request: Request, now: View) -> tuple[list[Offer], list[Rejected]]:
    everyone = now.catalog.endpoints
    granted = Grant(frozenset(one.name for one in everyone))
    offers, rejected, _ = eligible(request, classify(request), everyone, granted, now)
    return offers, rejected


def verdict(endpoint: Endpoint, request: Request, **facts: Any) -> tuple[str, str] | None:
    """Why the endpoint cannot answer, or None when it can."""
    offers, rejected = offered(request, view(endpoint, **facts))
    assert len(offers) + len(rejected) == 1
    return (rejected[0].rule, rejected[0].reason) if rejected else None


def asking(*parts: Any, **facts: Any) -> Request:
    return ask(messages=(Message("user", parts),), **facts)


EMBED = {"operation": "embed", "messages": (), "dialect": "openai_embeddings"}
COUNT = {"operation": "count", "dialect": "anthropic_messages"}


@pytest.mark.parametrize(
    ("endpoint", "request_", "expected"),
    [
        pytest.param(MID, ask(), None, id="chat"),
        pytest.param(EMBEDDER, ask(), ("dialect", "only embeds"), id="chat-with-an-embedder"),
        pytest.param(
            replace(MID, dialect="openai_embeddings"),
            ask(),
            ("dialect", "only embeds"),
            id="chat-in-a-dialect-of-embeddings",
        ),
        pytest.param(EMBEDDER, ask(**EMBED, inputs=("a",)), None, id="embed"),
        pytest.param(
            replace(EMBEDDER, dialect="openai_embeddings"),
            ask(**EMBED, inputs=("a",), bound=("dimensions",)),
            None,
            id="embed-in-its-dialect",
        ),
        pytest.param(
            EMBEDDER,
            ask(**EMBED, inputs=("a",), bound=("dimensions",)),
            None,
            id="embedding-crosses-nothing",
        ),
        pytest.param(
            EMBEDDER,
            ask(**(EMBED | {"dialect": "ollama"}), inputs=("a",), bound=("truncate",)),
            ("dialect", "truncate cannot cross from ollama to openai_chat"),
            id="but-for-a-foreign-dialect",
        ),
        pytest.param(MID, ask(**EMBED, inputs=("a",)), ("dialect", "does not embed"), id="chatter"),
        pytest.param(
            replace(EMBEDDER, dialect="anthropic_messages"),
            ask(**EMBED, inputs=("a",)),
            ("dialect", "does not embed"),
            id="embed-in-a-dialect-that-cannot",
        ),
        pytest.param(ANTHROPIC, ask(**COUNT), None, id="count"),
        pytest.param(MID, ask(**COUNT), ("dialect", "does not count tokens"), id="count-across"),
        pytest.param(
            MID,
            ask(**(COUNT | {"dialect": "openai_chat"})),
            ("dialect", "does not count tokens"),
            id="count-in-a-dialect-that-cannot",
        ),
        pytest.param(ANTHROPIC, ask(), None, id="crossing"),
        pytest.param(
            ANTHROPIC,
            ask(bound=("n", "logprobs")),
            ("dialect", "n, logprobs cannot cross from openai_chat to anthropic_messages"),
            id="bound-fields-do-not-cross",
        ),
        pytest.param(MID, ask(bound=("n",)), None, id="bound-fields-at-home"),
        pytest.param(
            ANTHROPIC,
            asking(Foreign("file", {}), Foreign("annotation", {})),
            ("dialect", "annotation, file cannot cross from openai_chat to anthropic_messages"),
            id="foreign-parts-do-not-cross",
        ),
        pytest.param(
            ANTHROPIC,
            asking(Foreign("x" * 300, {})),
            (
                "dialect",
                f"{'x' * 200}... cannot cross from openai_chat to anthropic_messages",
            ),
            id="a-long-word-is-not-repeated-for-every-endpoint",
        ),
        pytest.param(FLAGSHIP, asking(Foreign("file", {})), None, id="foreign-parts-at-home"),
        pytest.param(FLAGSHIP, asking(Image(data="aa")), None, id="sees-images"),
        pytest.param(
            MID, asking(Image(data="aa")), ("modality", "takes no image"), id="sees-no-images"
        ),
        pytest.param(LOCAL, ask(tools=(TOOL,)), None, id="has-tools"),
        pytest.param(
            changed(MID, can=frozenset({"system"})),
            ask(tools=(TOOL,), output=OutputFormat("json_schema")),
            ("capability", "has no json_schema, tools"),
            id="has-no-tools",
        ),
        pytest.param(
            LOCAL,
            ask(output=OutputFormat("json_schema")),
            ("capability", "has no json_schema"),
            id="any-json-is-not-a-schema",
        ),
        pytest.param(changed(MID, retires="2026-06-02"), ask(), None, id="last-day"),
        pytest.param(
            changed(MID, retires="2026-06-01"),
            ask(),
            ("lifecycle", "mid was retired on 2026-06-01"),
            id="retired-today",
        ),
        pytest.param(changed(MID, context_tokens=None), ask("x" * 10**6), None, id="unknown-size"),
        pytest.param(changed(MID, context_tokens=310), asking(Text("x" * 400)), None, id="fits"),
        pytest.param(
            changed(MID, context_tokens=309),
            asking(Text("x" * 400)),
            ("context", "holds 309 tokens, about 310 are needed"),
            id="needs-input-and-margin-and-answer",
        ),
        pytest.param(
            changed(MID, context_tokens=1_000),
            ask(max_output_tokens=1_000),
            ("context", "holds 1,000 tokens, about 1,011 are needed"),
            id="room-for-the-answer-asked-for",
        ),
        pytest.param(
            changed(ANTHROPIC, context_tokens=10), ask(**COUNT), None, id="counting-has-no-limit"
        ),
        pytest.param(
            changed(EMBEDDER, context_tokens=150),
            ask(**EMBED, inputs=("x" * 400,) * 9),
            None,
            id="texts-to-embed-fit-one-by-one",
        ),
        pytest.param(
            changed(EMBEDDER, context_tokens=100),
            ask(**EMBED, inputs=("x" * 400, "y")),
            ("context", "holds 100 tokens, about 106 are needed"),
            id="the-longest-must-fit",
        ),
        pytest.param(
            changed(EMBEDDER, context_tokens=1), ask(**EMBED, inputs=("", "")), None, id="empty"
        ),
        pytest.param(MID, ask(max_output_tokens=64_000), None, id="longest-answer"),
        pytest.param(
            MID,
            ask(max_output_tokens=64_001),
            ("output", "answers at most 64,000 tokens, 64,001 were asked for"),
            id="answer-too-long",
        ),
        pytest.param(
            changed(MID, max_output_tokens=None), ask(max_output_tokens=99_999), None, id="unstated"
        ),
    ],
)
def test_fitness(endpoint: Endpoint, request_: Request, expected: tuple[str, str] | None) -> None:
    assert verdict(endpoint, request_) == expected


def limit(**facts: Any) -> Request:
    """11 tokens in, 200 expected out: mid costs 2 and 10 dollars a million, so 2,022,000 nano."""
    return ask(narrowing=Narrowing(**facts))


@pytest.mark.parametrize(
    ("endpoint", "request_", "facts", "expected"),
    [
        pytest.param(MID, limit(max_cost_nano_usd=2_022_000), {}, None, id="just-cheap-enough"),
        pytest.param(
            MID,
            limit(max_cost_nano_usd=2_021_999),
            {},
            ("price", "would cost 0.002022 USD, at most 0.002021999 is wished"),
            id="too-dear",
        ),
        pytest.param(
            changed(MID, prices=()),
            limit(max_cost_nano_usd=10**12),
            {},
            ("price_unknown", "has no known price, and a limit needs one"),
            id="unknown-price-under-a-limit",
        ),
        pytest.param(
            changed(MID, prices=()),
            ask(),
            {"affordable_nano_usd": 10**12},
            ("price_unknown", "has no known price, and a budget needs one"),
            id="unknown-price-under-a-budget",
        ),
        pytest.param(changed(MID, prices=()), ask(), {}, None, id="unknown-price-without-limits"),
        pytest.param(
            MID, limit(max_cost_nano_usd=10**12), {"affordable_nano_usd": 10**12}, None, id="both"
        ),
        pytest.param(
            MID,
            ask(max_output_tokens=1_000),
            {"affordable_nano_usd": 10_022_000},
            None,
            id="the-worst-fits-the-budget",
        ),
        pytest.param(
            MID,
            ask(max_output_tokens=1_000),
            {"affordable_nano_usd": 10_021_999},
            ("budget", "may cost 0.010022 USD, the budget has 0.010021999 left"),
            id="the-worst-does-not-fit",
        ),
        pytest.param(
            MID,
            ask(),
            {"affordable_nano_usd": -5},
            ("budget", "may cost 0.002582 USD, the budget has 0 left"),
            id="in-debt",
        ),
        pytest.param(LOCAL, ask(), {"affordable_nano_usd": -5}, None, id="free-even-in-debt"),
        pytest.param(MID, limit(max_latency_ms=3_400), {}, None, id="just-fast-enough"),
        pytest.param(
            MID,
            limit(max_latency_ms=3_399),
            {},
            ("latency", "would take 3,400 ms, at most 3,399 are wished"),
            id="too-slow",
        ),
    ],
)
def test_limits(
    endpoint: Endpoint,
    request_: Request,
    facts: Mapping[str, Any],
    expected: tuple[str, str] | None,
) -> None:
    assert verdict(endpoint, request_, **facts) == expected


@pytest.mark.parametrize(
    ("vitals", "expected"),
    [
        pytest.param(Vitals(), None, id="healthy"),
        pytest.param(HALF, None, id="on-trial"),
        pytest.param(OPEN, ("health", "breaker is open"), id="breaker-open"),
        pytest.param(Vitals(gate_until_s=1_000.0, asked_until_s=1_000.0), None, id="gate-passed"),
        pytest.param(
            Vitals(gate_until_s=1_002.5, asked_until_s=1_000.0),
            ("rate_limit", "rate limit used up for 2.5 s"),
            id="used-up",
        ),
        pytest.param(
            Vitals(gate_until_s=1_002.5, asked_until_s=1_002.5),
            ("rate_limit", "asks to wait 2.5 s"),
            id="gated",
        ),
        pytest.param(
            Vitals(retired=True), ("retired", "its provider says that it is gone"), id="gone"
        ),
        pytest.param(
            Vitals(retired=True, state="open", gate_until_s=2_000.0, asked_until_s=2_000.0),
            ("retired", "its provider says that it is gone"),
            id="what-does-not-heal-comes-first",
        ),
    ],
)
def test_health(vitals: Vitals, expected: tuple[str, str] | None) -> None:
    assert verdict(MID, ask(), vitals={("acme/mid", ""): vitals}) == expected


def test_each_credential_is_an_offer_of_its_own() -> None:
    two = keyed(MID, "key-1", "key-2")
    offers, rejected = offered(ask(), view(two, vitals={("acme/mid", "key-1"): OPEN}))

    assert [offer.secret and offer.secret.id for offer in offers] == ["key-2"]
    assert rejected == [Rejected("acme/mid", "health", "key-1: breaker is open")]


def test_credentials_keep_their_order() -> None:
    offers, _ = offered(ask(), view(keyed(MID, "b", "a")))

    assert [offer.secret and offer.secret.id for offer in offers] == ["b", "a"]


def test_what_holds_for_all_credentials_is_told_once() -> None:
    _, rejected = offered(limit(max_latency_ms=1), view(keyed(MID, "a", "b")))

    assert len(rejected) == 1


def test_outside_the_grant_nobody_is_asked() -> None:
    request, now = ask(), view(MID, SMALL)
    grant = Grant(frozenset({"bolt/small"}))

    offers, rejected, _ = eligible(request, classify(request), now.catalog.endpoints, grant, now)

    assert [offer.endpoint.name for offer in offers] == ["bolt/small"]
    assert rejected == []


@pytest.mark.parametrize(
    ("affordable", "cap", "worst"),
    [
        pytest.param(None, None, 640_022_000, id="no-budget"),
        pytest.param(10**12, None, 640_022_000, id="enough-for-the-longest-answer"),
        pytest.param(10_022_000, 1_000, 10_022_000, id="enough-for-a-thousand-tokens"),
        pytest.param(2_582_000, 256, 2_582_000, id="enough-for-the-least"),
    ],
)
def test_a_budget_caps_the_answer(affordable: int | None, cap: int | None, worst: int) -> None:
    (offer,), _ = offered(ask(), view(MID, affordable_nano_usd=affordable))

    assert (offer.max_output_tokens, offer.worst_nano_usd) == (cap, worst)


@pytest.mark.parametrize(
    ("affordable", "cap", "worst"),
    [
        pytest.param(None, None, 1_920_022_000, id="no-budget"),
        pytest.param(1_920_022_000, None, 1_920_022_000, id="enough-for-three-of-the-longest"),
        pytest.param(30_022_000, 1_000, 30_022_000, id="enough-for-a-thousand-tokens-each"),
        pytest.param(7_702_000, 256, 7_702_000, id="enough-for-the-least-of-each"),
        pytest.param(7_701_999, None, 7_702_000, id="not-even-that"),
    ],
)
def test_every_one_of_several_answers_is_paid_for(
    affordable: int | None, cap: int | None, worst: int
) -> None:
    asked = ask(answers=3)
    offers, rejected = offered(asked, view(MID, affordable_nano_usd=affordable))

    assert [(of.max_output_tokens, of.worst_nano_usd) for of in offers] == (
        [] if rejected else [(cap, worst)]
    )
    assert bool(rejected) == (affordable is not None and affordable < 7_702_000)


def test_a_budget_below_the_least_answer_affords_none() -> None:
    expected = ("budget", "may cost 0.002582 USD, the budget has 0.002581999 left")

    assert verdict(MID, ask(), affordable_nano_usd=2_581_999) == expected


@pytest.mark.parametrize(
    ("facts", "worst"),
    [
        pytest.param({"max_output_tokens": 1_000}, 10_022_000, id="the-models-longest-answer"),
        pytest.param({"max_output_tokens": None, "context_tokens": 1_011}, 10_022_000, id="room"),
        pytest.param(
            {"max_output_tokens": None, "context_tokens": None}, 327_702_000, id="nobody-knows"
        ),
    ],
)
def test_the_worst_without_a_cap(facts: Mapping[str, Any], worst: int) -> None:
    (offer,), _ = offered(ask(), view(changed(MID, **facts)))

    assert offer.worst_nano_usd == worst


def test_counting_is_free() -> None:
    (offer,), _ = offered(ask(**COUNT), view(ANTHROPIC, affordable_nano_usd=0))

    assert (offer.expected_nano_usd, offer.worst_nano_usd) == (0, 0)


def test_embedding_costs_its_input() -> None:
    (offer,), _ = offered(ask(**EMBED, inputs=("x" * 3_999,)), view(EMBEDDER))

    assert (offer.expected_nano_usd, offer.worst_nano_usd) == (20_000, 21_000)


def test_near_a_tier_the_dearer_rate_is_assumed() -> None:
    tier = Tier(100, Rates(input=20_000_000, output=0))
    tiered = changed(MID, prices=(Price(rates=Rates(input=10_000_000, output=0), tiers=(tier,)),))

    (offer,), _ = offered(asking(Text("x" * 380)), view(tiered))

    assert offer.expected_nano_usd == 100 * 20_000


@pytest.mark.parametrize(
    ("vitals", "expected_ms"),
    [
        pytest.param(Vitals(), 900 + 2_500, id="not-measured"),
        pytest.param(Vitals(first_token_ms=100.0), 100 + 2_500, id="first-token-measured"),
        pytest.param(Vitals(tokens_per_s=400.0), 900 + 500, id="speed-measured"),
        pytest.param(Vitals(tokens_per_s=0.0), 900 + 2_000_000, id="standing-still"),
    ],
)
def test_expected_time(vitals: Vitals, expected_ms: float) -> None:
    (offer,), _ = offered(ask(), view(MID, vitals={("acme/mid", ""): vitals}))

    assert offer.expected_ms == expected_ms


def test_learned_tokens_correct_the_estimate() -> None:
    now = view(MID, SMALL, chars_per_token={"mid": 2.0})

    dense, plain = offered(asking(Text("x" * 4_000)), now)[0]

    # 1,005 tokens at four characters each are 2,011 at two.
    assert dense.expected_nano_usd == 2_011 * 2_000 + 200 * 10_000
    assert plain.expected_nano_usd == 1_005 * 250 + 200 * 2_000


def test_room_needed_is_what_the_context_check_asks() -> None:
    request = asking(Text("x" * 400))

    assert room_needed(request, classify(request)) == 310
    assert room_needed(replace(request, max_output_tokens=90), classify(request)) == 200


def test_the_pool_is_what_the_tables_assume() -> None:
    assert MID.model.prices == priced(200, 1_000)
    assert "json_schema" not in CHAT_ABILITIES
