"""The invented models are a market: something to choose between, and somewhere to go."""

import msgspec

from fairlead.outside.simulated.profiles import (
    LARGE,
    LOCAL,
    LONGVIEW,
    PROFILES,
    PROVIDERS,
    endpoints,
)

ADDRESSES = {provider.name: f"http://127.0.0.1:1/{provider.name}" for provider in PROVIDERS}


def test_prices_are_pico_dollars_a_token() -> None:
    rates = LARGE.prices[0].rates

    # $5 and $25 per million tokens.
    assert (rates.input, rates.output) == (5_000_000, 25_000_000)
    assert LOCAL.prices[0].rates.input == 0


def test_every_successor_is_served_by_somebody() -> None:
    served = {profile.model.name for profile in PROFILES}

    assert {profile.model.successor for profile in PROFILES} - {""} <= served


def test_the_flagship_is_the_strongest_and_the_dearest_and_not_the_longest() -> None:
    models = [profile.model for profile in PROFILES]

    assert max(models, key=lambda model: model.strength) is LARGE
    assert max(models, key=lambda model: model.prices[0].rates.output or 0) is LARGE
    assert max(models, key=lambda model: model.context_tokens or 0) is LONGVIEW


def test_endpoints_are_rows_for_the_catalogue() -> None:
    rows = {endpoint.name: endpoint for endpoint in endpoints(ADDRESSES, time_scale=0.5)}

    local = rows["sim-house/sim-local"]
    assert (local.zone, local.dialect, local.simulated) == ("local", "openai_chat", True)
    assert local.base_url == ADDRESSES["sim-house"]
    assert (local.expected_first_token_ms, local.expected_tokens_per_s) == (175, 90)
    assert rows["sim-north/sim-mid"].dialect == "anthropic_messages"
    assert rows["sim-south/sim-mid"].model == rows["sim-north/sim-mid"].model


def test_a_provider_that_does_not_run_has_no_endpoints() -> None:
    rows = endpoints({"sim-house": "http://127.0.0.1:1/v1"})

    assert {row.provider for row in rows} == {"sim-house"}
    assert msgspec.json.encode(rows)
