"""The compiler of the catalogue, on small made sources: whose price counts, and what is unknown."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from tools.catalogue import genai, litellm
from tools.catalogue.merge import FREE, Merged, Tally, merged
from tools.catalogue.rows import Rounding
from tools.catalogue.strength import strength
from tools.compile_catalogue import Unsound, compiled, main, report, written

from fairlead.outside.catalogue import FILE, BuiltIn, load
from fairlead.types.catalog import Model, Price, Rates

SAVED = "2026-11-23"
DATED, BROAD = "genai-prices 1.2.3", "litellm 4.5.6"
BOTH = f"{DATED}, {BROAD}"

CHAT = {"mode": "chat", "litellm_provider": "openai", "max_input_tokens": 128_000}


def decimals(value: object) -> object:
    return json.loads(json.dumps(value), parse_float=Decimal, parse_int=Decimal)


def compile_rows(
    dated: Mapping[str, Mapping[str, object]],
    broad: Mapping[str, Mapping[str, object]],
    tally: Tally | None = None,
) -> Merged:
    """``dated``: prices of the first source by provider and id. ``broad``: the second, as it is."""
    providers = [
        {"id": provider, "models": [entry(name, prices) for name, prices in models.items()]}
        for provider, models in dated.items()
    ]
    rounding = Rounding()
    return merged(
        genai.rows(decimals(providers), DATED, rounding),  # type: ignore[arg-type]
        litellm.rows(decimals(broad), BROAD, rounding),  # type: ignore[arg-type]
        litellm.unusable(broad),
        SAVED,
        tally or Tally(),
    )


def entry(name: str, prices: object, **facts: object) -> dict[str, object]:
    return {"id": name, "context_window": None, "prices": prices} | facts


def only(found: Merged, kind: str = "openai") -> Model:
    (model,) = found.hosts[kind]
    return model


def prices(
    dated: object = None, broad: Mapping[str, object] | None = None, tally: Tally | None = None
) -> tuple[Price, ...]:
    """Of one model that either source may have."""
    return only(
        compile_rows(
            {"openai": {"m": dated}} if dated is not None else {},
            {"m": {**CHAT, **broad}} if broad is not None else {},
            tally,
        )
    ).prices


def test_dollars_become_whole_pico_dollars_a_token() -> None:
    assert prices(dated={"input_mtok": 0.003625, "output_mtok": 1.1}) == (
        Price(Rates(input=3_625, output=1_100_000), source=DATED),
    )
    assert prices(broad={"input_cost_per_token": 1.15e-08, "output_cost_per_token": 1.7e-07}) == (
        Price(Rates(input=11_500, output=170_000), source=BROAD),
    )


@pytest.mark.parametrize(
    ("usd", "tokens", "pico", "rounded"),
    [
        ("0.1", 10**6, 100_000, 0),
        ("0.08333333333333334", 10**6, 83_334, 1),
        ("0.0000001", 10**6, 1, 1),
        ("1e-12", 1, 1, 0),
        ("0.00018", 1, 180_000_000, 0),
    ],
)
def test_what_is_finer_is_rounded_up_and_counted(
    usd: str, tokens: int, pico: int, rounded: int
) -> None:
    rounding = Rounding()

    assert rounding.pico_per_token(Decimal(usd), tokens) == pico
    assert rounding.count == rounded


@pytest.mark.parametrize("usd", ["-1", "NaN", "Infinity"])
def test_what_cannot_be_a_price_is_an_error(usd: str) -> None:
    with pytest.raises(ValueError, match="not a price"):
        Rounding().pico_per_token(Decimal(usd))


def test_every_kind_of_rate_is_read() -> None:
    assert prices(
        broad={
            "input_cost_per_token": 1e-06,
            "output_cost_per_token": 5e-06,
            "cache_read_input_token_cost": 1e-07,
            "cache_creation_input_token_cost": 1.25e-06,
            "cache_creation_input_token_cost_above_1hr": 2e-06,
            "output_cost_per_reasoning_token": 6e-06,
            "input_cost_per_token_batches": 5e-07,
            "output_cost_per_token_batches": 2.5e-06,
            "input_cost_per_token_priority": 9e-06,
        }
    )[0].rates == Rates(
        input=1_000_000,
        output=5_000_000,
        cached_read=100_000,
        cached_write=1_250_000,
        cached_write_1h=2_000_000,
        reasoning=6_000_000,
        batch_input=500_000,
        batch_output=2_500_000,
    )


def test_tiers_hold_for_the_whole_request_above_a_threshold() -> None:
    (price,) = prices(
        dated={
            "input_mtok": {"base": 1, "tiers": [{"start": 100, "price": 2}]},
            "output_mtok": {
                "base": 4,
                "tiers": [{"start": 100, "price": 6}, {"start": 900, "price": 8}],
            },
            "cache_read_mtok": 0.5,
        }
    )

    assert price.rates == Rates(input=1_000_000, output=4_000_000, cached_read=500_000)
    assert [(tier.above_input_tokens, tier.rates) for tier in price.tiers] == [
        (100, Rates(input=2_000_000, output=6_000_000, cached_read=500_000)),
        (900, Rates(input=2_000_000, output=8_000_000, cached_read=500_000)),
    ]


def test_a_rate_that_a_tier_does_not_state_is_unknown_in_it() -> None:
    (price,) = prices(
        broad={
            "input_cost_per_token": 1e-06,
            "output_cost_per_token": 2e-06,
            "cache_read_input_token_cost": 1e-07,
            "input_cost_per_token_above_200k_tokens": 2e-06,
            "output_cost_per_token_above_200k_tokens": 4e-06,
            "input_cost_per_token_above_200k_tokens_batches": 1e-06,
        }
    )

    assert [(tier.above_input_tokens, tier.rates) for tier in price.tiers] == [
        (200_000, Rates(input=2_000_000, output=4_000_000, batch_input=1_000_000))
    ]


def test_dates_become_stretches_that_meet() -> None:
    found = prices(
        dated=[
            {"prices": {"input_mtok": 3, "output_mtok": 3}},
            {"constraint": {"start_date": "2027-01-01"}, "prices": terms(5)},
            {"constraint": {"start_date": "2026-06-01"}, "prices": terms(4)},
            {"constraint": {"start_date": "2026-09-01"}, "prices": terms(4)},
        ]
    )

    assert [(one.rates.input, one.effective_from, one.effective_until) for one in found] == [
        (3_000_000, "", "2026-06-01"),
        (4_000_000, "2026-06-01", "2027-01-01"),
        (5_000_000, "2027-01-01", ""),
    ]


def test_of_prices_by_the_hour_the_dearest_counts() -> None:
    night = {"start_time": "16:00:00+00:00", "end_time": "20:00:00+00:00"}
    (price,) = prices(
        dated=[
            {"prices": {"input_mtok": 2, "output_mtok": 2, "cache_read_mtok": 0.1}},
            {"constraint": night, "prices": {"input_mtok": 1, "output_mtok": 3}},
        ]
    )

    assert price.rates == Rates(input=2_000_000, output=3_000_000, cached_read=100_000)


def terms(dollars: float) -> dict[str, float]:
    return {"input_mtok": dollars, "output_mtok": dollars}


def costs(dollars: float) -> dict[str, float]:
    return {
        "input_cost_per_token": dollars / 1_000_000,
        "output_cost_per_token": dollars / 1_000_000,
    }


def test_sources_that_agree_fill_each_others_gaps() -> None:
    (price,) = prices(
        dated=terms(2) | {"cache_write_1h_mtok": 4},
        broad=costs(2) | {"input_cost_per_token_batches": 1e-06},
    )

    assert price == Price(
        Rates(input=2_000_000, output=2_000_000, cached_write_1h=4_000_000, batch_input=1_000_000),
        source=BOTH,
    )


@pytest.mark.parametrize(
    ("dated", "broad", "chosen", "source"),
    [
        (terms(2), costs(3), 3_000_000, BROAD),
        (terms(3), costs(2), 3_000_000, DATED),
        (
            [
                {"prices": terms(9)},
                {"constraint": {"start_date": "2026-06-01"}, "prices": terms(2)},
            ],
            costs(3),
            2_000_000,
            DATED,
        ),
    ],
    ids=["the dearer", "the dearer, the other way", "the one with dates"],
)
def test_when_they_differ_one_counts_whole_and_it_is_told(
    dated: object, broad: dict[str, float], chosen: int, source: str
) -> None:
    tally = Tally()
    price = prices(dated, broad | {"cache_read_input_token_cost": 1e-07}, tally)[-1]
    (told,) = tally.disagreements

    assert (price.rates.input, price.source) == (chosen, source)
    assert (told.kind, told.name, told.chosen) == ("openai", "m", price)


@pytest.mark.parametrize(
    ("dated", "broad"),
    [
        (None, costs(0)),
        (terms(2) | {"requests_kcount": 5}, costs(2)),
        (terms(2), costs(2) | {"input_cost_per_request": 0.005}),
        ({}, None),
    ],
    ids=["zeros alone", "by the request", "by the request, too", "nothing"],
)
def test_no_price_is_unknown_and_not_zero(
    dated: object, broad: Mapping[str, object] | None
) -> None:
    broad = None if broad is None else {**broad, "supports_vision": True}
    flags = {"m-2026-01-01": CHAT | {"supports_vision": True} | costs(1)}
    found = compile_rows(
        {"openai": {"m": dated}} if dated is not None else {},
        ({"m": {**CHAT, **broad}} if broad is not None else {}) | flags,
    )

    assert {model.name: model.prices for model in found.hosts["openai"]}["m"] == ()


def test_a_zero_among_other_rates_is_unknown() -> None:
    assert prices(broad=costs(2) | {"input_cost_per_token": 0.0})[0].rates == Rates(
        output=2_000_000
    )
    assert prices(broad=costs(2) | {"cache_creation_input_token_cost": 0.0})[0].rates == Rates(
        input=2_000_000, output=2_000_000
    )


def test_zeros_are_believed_when_both_sources_have_them() -> None:
    assert prices(dated={}, broad=costs(0)) == (Price(FREE, source=BOTH),)


def test_zeros_are_believed_when_the_sellers_name_says_so() -> None:
    found = compile_rows({"openrouter": {"maker/m:free": {}, "maker/m": {}}}, {})

    assert only(found, "openrouter") == Model(
        "maker/m:free", prices=(Price(FREE, source=DATED),), strength=0.45
    )


def test_an_embedding_has_no_output_to_charge() -> None:
    embedding = {"mode": "embedding", "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0}
    model = only(compile_rows({}, {"m-embed": CHAT | embedding}))

    assert model.prices[0].rates == Rates(input=20_000, output=0)
    assert model.can == frozenset({"embed"})


def test_a_batch_variant_is_a_rate_of_the_model() -> None:
    found = compile_rows({"openrouter": {"a/m": terms(2), "a/m:batch": terms(1)}}, {})

    assert only(found, "openrouter").prices[0].rates == Rates(
        input=2_000_000, output=2_000_000, batch_input=1_000_000, batch_output=1_000_000
    )


def test_hosts_keep_their_own_prices() -> None:
    found = compile_rows(
        {"groq": {"openai/m": terms(1)}, "together": {"openai/m": terms(2)}},
        {"groq/openai/m": CHAT | costs(1) | {"litellm_provider": "groq"}},
    )

    assert {kind: models[0].prices[0].rates.input for kind, models in found.hosts.items()} == {
        "groq": 1_000_000,
        "together": 2_000_000,
    }
    assert [(model.name, model.prices) for model in found.anywhere] == [("m", ())]


def test_a_dated_name_that_differs_in_nothing_is_an_alias() -> None:
    found = compile_rows(
        {"openai": {"m": terms(2)}},
        {"m": CHAT | costs(2), "m-2026-03-05": CHAT | costs(2)},
    )

    assert (only(found).name, only(found).released) == ("m", "2026-03-05")
    assert found.aliases == {"m-2026-03-05": "m", "m": "m-2026-03-05"}


def test_a_dated_name_with_another_price_stays_apart() -> None:
    found = compile_rows({}, {"m": CHAT | costs(2), "m-2026-03-05": CHAT | costs(3)})

    assert [model.name for model in found.hosts["openai"]] == ["m", "m-2026-03-05"]
    assert found.aliases == {}


def test_what_only_one_source_prices_is_described_by_the_same_model_elsewhere() -> None:
    flags = {"supports_function_calling": True, "supports_vision": True, "max_output_tokens": 9_000}
    found = compile_rows(
        {"openrouter": {"maker/m-4.5": terms(2)}}, {"m-4-5": CHAT | costs(1) | flags}
    )
    model = only(found, "openrouter")

    assert "tools" in model.can
    assert model.accepts == frozenset({"text", "image"})
    assert (model.context_tokens, model.max_output_tokens) == (None, 9_000)


def test_a_limit_that_is_none_is_not_passed_on() -> None:
    limits = {"supports_vision": True, "max_output_tokens": CHAT["max_input_tokens"]}
    found = compile_rows({"openrouter": {"maker/m": terms(2)}}, {"m": CHAT | costs(1) | limits})

    assert only(found, "openrouter").max_output_tokens is None


@pytest.mark.parametrize(
    ("window", "asked", "answered", "context", "most"),
    [
        (400_000, 272_000, 128_000, 400_000, 128_000),
        (1_000_000, 1_047_576, 32_768, 1_047_576, 32_768),
        (None, 200_000, 64_000, 200_000, 64_000),
        (500_000, 500_000, 500_000, 500_000, None),
    ],
    ids=["input alone", "rounded", "one source", "no limit of its own"],
)
def test_the_window(
    window: int | None, asked: int, answered: int, context: int, most: int | None
) -> None:
    listed = [{"id": "openai", "models": [entry("m", terms(1), context_window=window)]}]
    limits = {"max_input_tokens": asked, "max_output_tokens": answered}
    found = merged(
        genai.rows(decimals(listed), DATED, Rounding()),  # type: ignore[arg-type]
        litellm.rows(decimals({"m": CHAT | costs(1) | limits}), BROAD, Rounding()),  # type: ignore[arg-type]
        frozenset(),
        SAVED,
        Tally(),
    )

    assert (only(found).context_tokens, only(found).max_output_tokens) == (context, most)


def test_input_dearer_than_text_is_not_taken() -> None:
    hears = {"supports_audio_input": True, "input_cost_per_audio_token": 5e-06}
    found = compile_rows({}, {"m": CHAT | costs(1) | hears | {"supports_vision": True}})

    assert only(found).accepts == frozenset({"text", "image"})


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("m", {"mode": "image_generation"}),
        ("m", {"supported_endpoints": ["/v1/responses"]}),
        ("m", {"litellm_provider": "vertex_ai"}),
        ("m", {"deprecation_date": "2025-01-01"}),
        ("m-audio-preview", {}),
        ("ft:m", {}),
        ("m-tts", {}),
    ],
)
def test_what_cannot_be_used_is_left_out(name: str, facts: dict[str, object]) -> None:
    assert compile_rows({}, {name: CHAT | costs(1) | facts}).hosts == {}


def test_what_the_broad_source_has_elsewhere_is_not_taken_from_the_other() -> None:
    elsewhere = {"m": CHAT | {"mode": "responses"} | costs(1)}

    assert compile_rows({"openai": {"m": terms(1)}}, elsewhere).hosts == {}


def test_strength_is_by_family_else_by_price_within_bounds() -> None:
    dear, cheap = Rates(input=1, output=50_000_000), Rates(input=1, output=10_000)

    assert strength("claude-opus-5-5", cheap, embeds=False) == 0.95
    assert strength("nobody-knows", Rates(input=1, output=1_000_000), embeds=False) == 0.5
    assert strength("nobody-knows", dear, embeds=False) == 0.72
    assert strength("nobody-knows", cheap, embeds=False) == 0.35
    assert strength("nobody-knows", None, embeds=False) == 0.45


# The whole script ------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    dated, broad = tmp_path / "genai_prices_1.2.3.json", tmp_path / "prices_4.5.6.json"
    dated.write_text(json.dumps([{"id": "openai", "models": [entry("m", terms(2))]}]))
    broad.write_text(
        json.dumps({"m": CHAT | costs(2), "m-2026-03-05": CHAT | costs(2), "n": CHAT | costs(9)})
    )
    return dated, broad


def compiled_to(out: Path, sources: tuple[Path, Path], *lineup: str) -> BuiltIn:
    catalogue = compiled(*sources, SAVED, Tally(), Rounding(), {"openai": lineup})
    out.write_text(written(catalogue))
    return load(out)


def test_what_is_written_can_be_loaded(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    known = compiled_to(tmp_path / "out.json", sources, "m", "n")

    assert known.find("openai", "m-2026-03-05") == Model(
        "m",
        context_tokens=128_000,
        prices=(Price(Rates(input=2_000_000, output=2_000_000), source=BOTH),),
        strength=0.55,
        released="2026-03-05",
    )
    assert known.recommended("openai") == ("n", "m")


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    compiled_to(first, sources, "m")
    compiled_to(second, sources, "m")

    assert first.read_bytes() == second.read_bytes()


def test_the_file_says_what_it_was_made_of(tmp_path: Path, sources: tuple[Path, Path]) -> None:
    known = compiled_to(tmp_path / "out.json", sources, "m")

    assert [(each.name, each.version, each.saved) for each in known.origins] == [
        ("genai-prices", "1.2.3", SAVED),
        ("litellm", "4.5.6", SAVED),
    ]


def test_the_committed_file_says_what_it_was_made_of() -> None:
    assert [(each.name, each.version, each.saved) for each in load(FILE).origins] == [
        ("genai-prices", "0.2.3", "2026-11-23"),
        ("litellm", "1.109.1", "2026-11-23"),
    ]


def test_the_report_counts_disagreements(sources: tuple[Path, Path]) -> None:
    tally, rounding = Tally(), Rounding()
    sources[1].write_text(json.dumps({"m": CHAT | costs(3)}))
    catalogue = compiled(*sources, SAVED, tally, rounding, {})
    lines = list(report(catalogue, tally, rounding))

    assert "     1 prices on which the sources disagree" in lines
    assert f"       openai/m: $3/$3 ({BROAD}), not $2/$2 ({DATED})" in lines


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({}, "line-up of openai: gone is in no source"),
        (CHAT | costs(0) | {"supports_vision": True}, "line-up of openai: gone has no price"),
        (CHAT | costs(1) | {"max_input_tokens": None}, "nobody knows how much gone holds"),
        (CHAT | costs(1) | {"deprecation_date": "2027-01-14"}, "gone retires on 2027-01-14"),
    ],
)
def test_a_line_up_that_would_not_hold_is_refused(
    sources: tuple[Path, Path], facts: dict[str, object], complaint: str
) -> None:
    sources[1].write_text(json.dumps({"gone": facts} if facts else {}))

    with pytest.raises(Unsound, match=complaint):
        compiled(*sources, SAVED, Tally(), Rounding(), {"openai": ("gone",)})


@pytest.mark.parametrize(
    ("swapped", "name", "complaint"),
    [
        (
            True,
            "genai_prices_1.2.3.json",
            "genai_prices_1.2.3.json: Expected `object`, got `array`",
        ),
        (False, "genai_prices.json", "file name ends in its version"),
    ],
)
def test_a_wrong_file_is_told_and_nothing_is_written(
    sources: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    swapped: bool,
    name: str,
    complaint: str,
) -> None:
    dated, broad = sources[0].rename(sources[0].with_name(name)), sources[1]
    given = (broad, dated) if swapped else (dated, broad)
    out = dated.with_name("out.json")

    assert main(["--saved", SAVED, "--out", str(out), *map(str, given)]) == 1
    assert complaint in capsys.readouterr().err
    assert not out.exists()
