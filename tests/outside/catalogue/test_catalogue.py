"""The catalogue in the package: what it knows, and what it does not pretend to know."""

import re
import socket
from collections.abc import Iterator

import msgspec
import pytest

from fairlead.decide.cost import price_on, rates_on
from fairlead.outside.catalogue import FILE, BuiltIn, load
from fairlead.outside.config import build, parse
from fairlead.outside.config.kinds import KINDS, runs
from fairlead.types.catalog import Model, Price, Rates

SAVED = "2026-11-23"
"""The day that the catalogue tells of."""
HOSTED = [kind for kind in KINDS if runs(kind) == "hosted"]
PREVIEW = re.compile(r"preview|-exp\b|beta|experimental|-latest$")


@pytest.fixture(scope="module")
def known() -> BuiltIn:
    return load()


def found(known: BuiltIn, kind: str, name: str) -> Model:
    model = known.find(kind, name)
    assert model is not None, f"{kind}/{name}"
    return model


def models(known: BuiltIn) -> Iterator[tuple[str, Model]]:
    for kind, served in known.hosts.items():
        for model in served.values():
            yield kind, model


def every_rate(price: Price) -> Iterator[Rates]:
    yield price.rates
    yield from (tier.rates for tier in price.tiers)


@pytest.mark.parametrize(
    ("kind", "name", "dollars_per_million"),
    [
        ("openai", "gpt-6.1-sol", {"input": 2, "output": 10, "cached_read": 0.1}),
        ("openai", "gpt-5.4-mini", {"input": 0.75, "output": 4.5, "batch_input": 0.375}),
        ("openai", "text-embedding-3-small", {"input": 0.02, "output": 0}),
        (
            "anthropic",
            "claude-opus-5-5",
            {"input": 4, "output": 20, "cached_read": 0.2, "cached_write": 5, "cached_write_1h": 8},
        ),
        ("anthropic", "claude-haiku-4-5", {"input": 1, "output": 5, "batch_output": 2.5}),
        ("gemini", "gemini-3.8-flash", {"input": 0.75, "output": 3.75, "reasoning": 3.75}),
        ("mistral", "mistral-large-4", {"input": 0.7, "output": 2.1}),
        ("groq", "openai/gpt-oss-120b", {"input": 0.15, "output": 0.6}),
        ("together", "openai/gpt-oss-120b", {"input": 0.15, "output": 0.6}),
        ("cerebras", "gpt-oss-120b", {"input": 0.35, "output": 0.75}),
        ("openrouter", "anthropic/claude-opus-5.5", {"input": 4, "output": 20, "batch_input": 2}),
    ],
)
def test_what_vendors_publish(
    known: BuiltIn, kind: str, name: str, dollars_per_million: dict[str, float]
) -> None:
    rates = rates_on(found(known, kind, name), SAVED, 1_000)

    assert rates is not None
    for rate, dollars in dollars_per_million.items():
        assert getattr(rates, rate) == round(dollars * 1_000_000), rate


def test_a_long_prompt_is_dearer(known: BuiltIn) -> None:
    haiku = found(known, "anthropic", "claude-haiku-5-5")

    assert [rates_on(haiku, SAVED, tokens).input for tokens in (100_000, 100_001)] == [  # type: ignore[union-attr]
        100_000,
        500_000,
    ]


def test_a_price_that_will_rise_is_known_beforehand(known: BuiltIn) -> None:
    flash = found(known, "gemini", "gemini-3.8-flash")
    before, after = (price_on(flash, day) for day in ("2026-12-31", "2027-01-01"))

    assert before is not None
    assert after is not None
    assert (before.rates.input, after.rates.input) == (750_000, 1_500_000)
    assert before.effective_until == after.effective_from == "2027-01-01"


def test_the_dearest_hour_counts_all_day(known: BuiltIn) -> None:
    rates = rates_on(found(known, "deepseek", "deepseek-v4-pro"), SAVED, 1_000)

    assert rates is not None
    assert (rates.input, rates.output) == (1_320_000, 3_960_000)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("perplexity", "sonar-pro"),  # charged by the request too
        ("together", "Prism-ML/Ternary-Bonsai-27B"),  # zeros that one list alone has
        ("gemini", "gemini-exp-1206"),
    ],
)
def test_unknown_is_no_price_at_all(known: BuiltIn, kind: str, name: str) -> None:
    model = found(known, kind, name)

    assert model.prices == ()
    assert rates_on(model, SAVED, 1_000) is None


def test_nothing_is_zero_unless_all_is_free_or_there_is_no_output(known: BuiltIn) -> None:
    for kind, model in models(known):
        for price in model.prices:
            for rates in every_rate(price):
                zeros = {name for name in rates.__struct_fields__ if getattr(rates, name) == 0}
                if zeros and "embed" in model.can:
                    assert zeros == {"output"}, f"{kind}/{model.name}"
                elif zeros:
                    assert rates.input == rates.output == 0, f"{kind}/{model.name}"


def test_free_is_said_by_name_or_by_both_sources(known: BuiltIn) -> None:
    free = [
        f"{kind}/{model.name}"
        for kind, model in models(known)
        for price in model.prices
        if price.rates.input == 0
    ]

    assert [name for name in free if not name.endswith(":free")] == [
        "gemini/gemma-4-26b-a4b-it",
        "gemini/gemma-4-31b-it",
    ]


def test_every_rate_is_a_whole_number(known: BuiltIn) -> None:
    for kind, model in models(known):
        for price in model.prices:
            for rates in every_rate(price):
                values = [getattr(rates, name) for name in rates.__struct_fields__]
                assert all(value is None or type(value) is int for value in values), (
                    f"{kind}/{model.name}"
                )
                assert all(value is None or value < 10**9 for value in values), (
                    f"{kind}/{model.name}: more than $1,000 a million tokens"
                )


def test_every_price_names_its_source(known: BuiltIn) -> None:
    sources = {price.source for _, model in models(known) for price in model.prices}
    names = [f"{origin.name} {origin.version}" for origin in known.origins]

    assert sources == {*names, ", ".join(names)}


def test_prices_follow_each_other_without_a_gap(known: BuiltIn) -> None:
    for kind, model in models(known):
        starts = [price.effective_from for price in model.prices]
        ends = [price.effective_until for price in model.prices]
        assert starts == sorted(set(starts)), f"{kind}/{model.name}"
        assert ends == [*starts[1:], ""][: len(ends)], f"{kind}/{model.name}"
        for price in model.prices:
            thresholds = [tier.above_input_tokens for tier in price.tiers]
            assert thresholds == sorted(set(thresholds)), f"{kind}/{model.name}"


def test_every_source_states_its_terms(known: BuiltIn) -> None:
    notices = FILE.with_name("SOURCES.md").read_text()

    for origin in known.origins:
        assert (origin.licence, origin.saved) == ("MIT", SAVED)
        assert f"{origin.name}: {origin.copyright}" in notices
        assert origin.version in notices


@pytest.mark.parametrize(
    ("kind", "name", "plain"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-opus-4-20250514", "claude-opus-4-0"),
        ("anthropic", "claude-3-opus", "claude-3-opus-latest"),
        ("anthropic", "Claude-Opus-5-5", "claude-opus-5-5"),
        ("openai", "gpt-5.4-2026-03-05", "gpt-5.4"),
        ("openai", "gpt-6.1-sol-2026-12-24", "gpt-6.1-sol"),
        ("fireworks", "glm-5p3", "accounts/fireworks/models/glm-5p3"),
        ("openrouter", "anthropic/claude-opus-5.5", "anthropic/claude-opus-5.5"),
    ],
)
def test_other_names_for_the_same(known: BuiltIn, kind: str, name: str, plain: str) -> None:
    assert found(known, kind, name).name == plain


def test_a_snapshot_with_a_price_of_its_own_keeps_it(known: BuiltIn) -> None:
    old, plain = found(known, "openai", "gpt-4o-2024-05-13"), found(known, "openai", "gpt-4o")

    assert old.prices[-1].rates.input == 5_000_000
    assert plain.prices[-1].rates.input == 2_500_000
    assert "gpt-4o-2024-05-13" not in known.aliases


def test_a_dated_name_is_an_alias_in_both_directions(known: BuiltIn) -> None:
    assert known.aliases["claude-haiku-4-5-20251001"] == "claude-haiku-4-5"
    assert known.aliases["claude-haiku-4-5"] == "claude-haiku-4-5-20251001"


def test_a_price_is_true_at_one_place_only(known: BuiltIn) -> None:
    there = found(known, "groq", "openai/gpt-oss-120b")
    for kind in ("", "vllm", "nobody"):
        model = found(known, kind, "openai/gpt-oss-120b")
        assert model.prices == ()
        assert {"tools", "reasoning"} <= model.can
        assert model.strength == there.strength


def test_a_model_new_to_a_host_is_described_but_not_priced(known: BuiltIn) -> None:
    model = found(known, "deepinfra", "moonshotai/Kimi-K3.1-Pro")

    assert (model.prices, "tools" in model.can) == ((), True)


@pytest.mark.parametrize("kind", ["ollama", "vllm", "llamacpp", "lmstudio", "sglang"])
def test_how_much_a_local_server_holds_is_up_to_who_started_it(known: BuiltIn, kind: str) -> None:
    model = found(known, kind, "gpt-oss-20b")

    assert (model.context_tokens, model.max_output_tokens, model.prices) == (None, None, ())
    assert model.open_weights


@pytest.mark.parametrize(
    "name",
    ["gemma4:31b", "google/gemma-4-31B-it", "gemma-4-31b-it-Q4_K_M.gguf", "gemma-4-31b-it-fp8"],
)
def test_a_local_model_is_recognised_however_packed(known: BuiltIn, name: str) -> None:
    assert found(known, "llamacpp", name).name == "gemma-4-31b"


def test_a_name_that_nobody_has_is_not_found(known: BuiltIn) -> None:
    assert known.find("openai", "gpt-0") is None
    assert known.find("", "") is None


@pytest.mark.parametrize("kind", HOSTED)
def test_a_line_up_is_small_known_and_lasting(known: BuiltIn, kind: str) -> None:
    names = known.recommended(kind)
    served = [found(known, kind, name) for name in names]

    assert 2 <= len(names) <= 8
    assert [model.name for model in served] == list(names)
    for model in served:
        assert not PREVIEW.search(model.name)
        assert not model.retires or model.retires > "2027-11-23", f"{model.name} will be gone"
        assert model.context_tokens
        assert kind == "perplexity" or price_on(model, SAVED) is not None


@pytest.mark.parametrize("kind", HOSTED)
def test_a_line_up_goes_from_strong_to_weak_then_embeds(known: BuiltIn, kind: str) -> None:
    served = [found(known, kind, name) for name in known.recommended(kind)]
    chats = [model.strength for model in served if "embed" not in model.can]

    assert chats == sorted(chats, reverse=True)
    assert all("embed" in model.can for model in served[len(chats) :])


def test_kinds_without_a_line_up_recommend_nothing(known: BuiltIn) -> None:
    assert [known.recommended(kind) for kind in ("", "ollama", "simulated", "nobody")] == [()] * 4


@pytest.mark.parametrize("kind", HOSTED)
def test_a_key_alone_makes_a_catalogue_of_endpoints(known: BuiltIn, kind: str) -> None:
    catalog = build(parse(f"providers: {{{kind}: }}"), known)

    assert {each.upstream_model for each in catalog.endpoints} == set(known.recommended(kind))


@pytest.mark.parametrize(
    ("kind", "name", "can", "cannot"),
    [
        ("anthropic", "claude-opus-5-5", {"tools", "reasoning", "json_schema"}, {"sampling"}),
        ("anthropic", "claude-opus-5-5", {"parallel_tools"}, {"forced_tools", "prefill"}),
        ("anthropic", "claude-haiku-4-5", {"sampling", "prefill", "forced_tools"}, {"json_object"}),
        ("openai", "gpt-5.4", {"tools", "reasoning", "json_object"}, {"sampling"}),
        ("openai", "gpt-6-astra", {"reasoning"}, {"tools", "sampling"}),
        ("openrouter", "openai/gpt-6-astra", {"tools"}, {"sampling"}),
        ("openai", "gpt-4.1", {"sampling", "tools"}, {"reasoning"}),
        ("moonshot", "kimi-k3", {"tools"}, {"sampling"}),
        ("openai", "text-embedding-3-large", {"embed"}, {"stream", "system", "tools"}),
    ],
)
def test_what_models_can_do(
    known: BuiltIn, kind: str, name: str, can: set[str], cannot: set[str]
) -> None:
    model = found(known, kind, name)

    assert can <= model.can
    assert not cannot & model.can


def test_input_that_costs_more_than_text_is_not_taken(known: BuiltIn) -> None:
    assert "audio" in found(known, "gemini", "gemini-3.8-flash").accepts
    assert "audio" not in found(known, "gemini", "gemini-2.5-flash").accepts


def test_the_window_is_input_and_output_together(known: BuiltIn) -> None:
    mini = found(known, "openai", "gpt-5-mini")

    assert (mini.context_tokens, mini.max_output_tokens) == (400_000, 128_000)
    for kind, model in models(known):
        if model.context_tokens and model.max_output_tokens:
            assert model.max_output_tokens < model.context_tokens, f"{kind}/{model.name}"


def test_retirement_is_known(known: BuiltIn) -> None:
    assert found(known, "anthropic", "claude-sonnet-4-5").retires == "2026-11-30"


def test_strength_is_a_share(known: BuiltIn) -> None:
    assert all(0 < model.strength < 1 for _, model in models(known))


def test_loading_reaches_for_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)

    assert load().recommended("openai")


def test_the_file_is_compact(known: BuiltIn) -> None:
    """Loading takes about 3 ms of CPU time and 3 MB; a size says it without a clock."""
    assert FILE.stat().st_size < 1_000_000
    assert sum(len(served) for served in known.hosts.values()) < 3_000


def test_the_file_can_be_read_as_a_difference() -> None:
    lines = FILE.read_text().splitlines()
    whole = [line.rstrip(",") for line in lines if line.startswith('{"name"')]

    assert len(whole) > 1_000
    assert all(msgspec.json.decode(line) for line in whole)
