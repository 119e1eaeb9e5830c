"""What exists: models, the endpoints that serve them, prices, routes. Data, read from files."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Capability = Literal[
    "tools",
    "parallel_tools",
    "forced_tools",
    "json_object",
    "json_schema",
    "reasoning",
    "sampling",
    "prefill",
    "system",
    "stream",
    "embed",
]
"""``sampling``: accepts temperature, top_p, top_k. ``prefill``: continues a last assistant turn."""

Modality = Literal["text", "image", "audio", "video", "pdf"]


class Rates(Struct, frozen=True):
    """Integer pico-dollars (1e-12 USD) per token. None is unknown, and never means free."""

    input: int | None = None
    output: int | None = None
    cached_read: int | None = None
    cached_write: int | None = None
    cached_write_1h: int | None = None
    reasoning: int | None = None
    batch_input: int | None = None
    batch_output: int | None = None


class Tier(Struct, frozen=True):
    """Rates for the whole request once its input is larger than ``above_input_tokens``."""

    above_input_tokens: int
    rates: Rates


class Price(Struct, frozen=True):
    """What a token costs from ``effective_from`` (inclusive) until ``effective_until``."""

    rates: Rates = Rates()
    tiers: tuple[Tier, ...] = ()
    """In ascending order of threshold."""
    effective_from: str = ""
    """ISO date; empty means since ever."""
    effective_until: str = ""
    """ISO date, exclusive; empty means open."""
    source: str = "unknown"
    """Where the figure comes from, with the catalogue's version: the price version on record."""


class Shift(Struct, frozen=True):
    """How requests move to a model's successor before the model retires."""

    canary: float = 0.05
    """The share that moves first, 0 to 1."""
    over_s: float = 7 * 86_400.0
    """How long before the day the first of them move."""


class Model(Struct, frozen=True):
    """One model as served in one place: limits and prices differ by host, so each endpoint has
    its own."""

    name: str
    context_tokens: int | None = None
    """Input plus output, or None when nobody knows."""
    max_output_tokens: int | None = None
    accepts: frozenset[Modality] = frozenset({"text"})
    can: frozenset[Capability] = frozenset({"system", "stream", "sampling"})
    prices: tuple[Price, ...] = ()
    strength: float = 0.5
    """Prior belief in the quality of its answers, 0 to 1, before any task is known."""
    open_weights: bool = False
    released: str = ""
    retires: str = ""
    """ISO date after which the vendor stops serving it; empty means none announced."""
    successor: str = ""
    """The model that answers in its place once it is gone."""
    shift: Shift | None = None
    """None: all at once, on the day."""


class Secret(Struct, frozen=True):
    """A credential by reference: which variable or file holds it. Never the secret itself."""

    id: str
    """Stable short name for journal, metrics and breakers, such as ``env:OPENAI_API_KEY``."""
    env: str = ""
    file: str = ""


class Timeouts(Struct, frozen=True):
    connect_s: float = 5.0
    first_token_s: float = 30.0
    stall_s: float = 20.0


class Endpoint(Struct, frozen=True):
    """One model at one provider: a row of data, not a class."""

    name: str
    """``provider/model``."""
    provider: str
    model: Model
    upstream_model: str
    """The model's name at the provider."""
    dialect: str
    base_url: str
    """Without a trailing slash; the dialect appends its path."""
    signer: str = "none"
    """How the credential is presented: a name in ``outside.signers.SIGNERS``."""
    secrets: tuple[Secret, ...] = ()
    zone: str = "cloud"
    simulated: bool = False
    timeouts: Timeouts = Timeouts()
    expected_first_token_ms: float = 800.0
    """Used until the endpoint has been measured."""
    expected_tokens_per_s: float = 60.0


class Weights(Struct, frozen=True):
    """How much each aim counts on a route; any non-negative numbers, compared by ratio."""

    quality: float = 1.0
    cost: float = 1.0
    speed: float = 1.0


class When(Struct, frozen=True):
    """Every stated condition must hold. Empty and None mean not stated."""

    tasks: tuple[str, ...] = ()
    input_tokens_over: int | None = None
    input_tokens_under: int | None = None
    tools: bool | None = None
    images: bool | None = None
    json: bool | None = None
    difficulty_over: float | None = None
    difficulty_under: float | None = None


class Rule(Struct, frozen=True):
    """One way to answer on a route: an ordered list, or weights over the models it may use."""

    when: When = When()
    ordered: bool = False
    """True: try ``models`` in their order. False: rank them by ``weights``."""
    models: tuple[str, ...] = ()
    """Model or endpoint names, a trailing ``*`` matches any ending; empty means every endpoint."""
    weights: Weights = Weights()


class Route(Struct, frozen=True):
    """A name that applications ask for. The first rule whose ``when`` holds answers."""

    name: str
    rules: tuple[Rule, ...]
    zones: tuple[str, ...] = ()
    """Zones this route may use; empty means any."""
    max_attempts: int = 3
    deadline_s: float = 600.0
    description: str = ""
    rescue: bool = True
    """Whether another attempt may go on with a text whose stream broke."""


class Catalog(Struct, frozen=True):
    """All that exists now. Replaced whole, never changed."""

    endpoints: tuple[Endpoint, ...] = ()
    by_name: Mapping[str, tuple[Endpoint, ...]] = {}
    """Endpoints by model name, by upstream name and by endpoint name."""
    routes: Mapping[str, Route] = {}
    aliases: Mapping[str, str] = {}
    """Other names for a route or model, such as a dated name for its undated one."""
    baseline: str = ""
    """Model that savings are counted against; empty means the strongest."""
    generation: int = 0
    """Counts reloads, for logs and headers."""
