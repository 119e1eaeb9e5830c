"""The invented models and who serves them: prices, limits and speed, as data. Does nothing."""

from collections.abc import Mapping

from msgspec import Struct

from fairlead.types.catalog import Capability, Endpoint, Model, Price, Rates

CHAT: frozenset[Capability] = frozenset(
    {
        *("tools", "parallel_tools", "forced_tools", "json_object", "json_schema"),
        *("sampling", "system", "stream"),
    }
)
PICO_USD_PER_USD_PER_MILLION = 1_000_000
"""One dollar per million tokens, in pico-dollars per token."""


class Profile(Struct, frozen=True):
    """How one model behaves at one provider."""

    model: Model
    provider: str
    first_token_ms: float
    """For a short prompt."""
    prefill_tokens_per_s: float
    """Reading the prompt; adds to the first token's time."""
    tokens_per_s: float
    """Writing the answer."""


class SimulatedProvider(Struct, frozen=True):
    name: str
    zone: str
    dialect: str
    """The dialect that the gateway should speak to it; its server understands both."""


PROVIDERS = (
    SimulatedProvider("sim-north", "cloud", "anthropic_messages"),
    SimulatedProvider("sim-south", "cloud", "openai_chat"),
    SimulatedProvider("sim-house", "local", "openai_chat"),
)


def _price(**cents_per_million: int) -> tuple[Price, ...]:
    """Rates in US cents per million tokens, by name of the rate."""
    per_cent = PICO_USD_PER_USD_PER_MILLION // 100
    rates = Rates(**{name: cents * per_cent for name, cents in cents_per_million.items()})
    return (Price(rates=rates, source="simulated"),)


FREE = _price(input=0, output=0, cached_read=0, cached_write=0)

LARGE = Model(
    name="sim-large",
    context_tokens=200_000,
    max_output_tokens=64_000,
    accepts=frozenset({"text", "image"}),
    can=CHAT | {"reasoning"},
    prices=_price(input=500, output=2500, cached_read=50, cached_write=625),
    strength=0.95,
    released="2026-08-01",
)
MID = Model(
    name="sim-mid",
    context_tokens=200_000,
    max_output_tokens=64_000,
    accepts=frozenset({"text", "image"}),
    can=CHAT | {"reasoning"},
    prices=_price(input=300, output=1500, cached_read=30, cached_write=375),
    strength=0.82,
    released="2026-05-01",
)
SWIFT = Model(
    name="sim-swift",
    context_tokens=128_000,
    max_output_tokens=16_000,
    can=CHAT,
    prices=_price(input=10, output=40),
    strength=0.5,
    released="2025-09-01",
    successor="sim-swift-2",
)
SWIFT_2 = Model(
    name="sim-swift-2",
    context_tokens=128_000,
    max_output_tokens=16_000,
    can=CHAT,
    prices=_price(input=25, output=100),
    strength=0.51,
    released="2026-09-01",
)
LONGVIEW = Model(
    name="sim-longview",
    context_tokens=1_000_000,
    max_output_tokens=32_000,
    can=CHAT,
    prices=_price(input=20, output=80, cached_read=5),
    strength=0.56,
    released="2026-06-01",
)
LOCAL = Model(
    name="sim-local",
    context_tokens=64_000,
    max_output_tokens=8_000,
    can=CHAT,
    prices=FREE,
    strength=0.4,
    open_weights=True,
    released="2026-03-01",
)
EMBED = Model(
    name="sim-embed",
    context_tokens=8_000,
    can=frozenset({"embed"}),
    prices=FREE,
    strength=0.5,
    open_weights=True,
    released="2026-03-01",
)

PROFILES = (
    Profile(LARGE, "sim-north", 1100, 25_000, 60),
    Profile(MID, "sim-north", 600, 40_000, 95),
    Profile(MID, "sim-south", 700, 40_000, 85),
    Profile(SWIFT, "sim-south", 250, 90_000, 220),
    Profile(SWIFT_2, "sim-south", 350, 90_000, 170),
    Profile(LONGVIEW, "sim-south", 450, 120_000, 150),
    Profile(LOCAL, "sim-house", 350, 8_000, 45),
    Profile(EMBED, "sim-house", 40, 60_000, 1000),
)


def endpoints(addresses: Mapping[str, str], time_scale: float = 1.0) -> tuple[Endpoint, ...]:
    """Rows for the catalogue. ``addresses``: by provider name, such as
    ``http://127.0.0.1:41873/v1``; a provider without an address has no endpoints. ``time_scale``
    is what the servers were started with, so that expectations match what will be measured."""
    scale = max(time_scale, 1e-3)
    return tuple(
        Endpoint(
            name=f"{provider.name}/{profile.model.name}",
            provider=provider.name,
            model=profile.model,
            upstream_model=profile.model.name,
            dialect=provider.dialect,
            base_url=addresses[provider.name],
            zone=provider.zone,
            simulated=True,
            expected_first_token_ms=profile.first_token_ms * scale,
            expected_tokens_per_s=profile.tokens_per_s / scale,
        )
        for provider in PROVIDERS
        if provider.name in addresses
        for profile in PROFILES
        if profile.provider == provider.name
    )


def as_if_running() -> tuple[Endpoint, ...]:
    """Rows for previews: providers have addresses only while they run, and these lead nowhere."""
    return endpoints({provider.name: "http://127.0.0.1:0/v1" for provider in PROVIDERS})
