"""A small market of models to decide about, and builders that change one fact at a time."""

from typing import Any

from msgspec.structs import replace

from fairlead.decide.routes import default_routes
from fairlead.types.catalog import Catalog, Endpoint, Model, Price, Rates, Route, Secret
from fairlead.types.chat import Message, Request, Text
from fairlead.types.decision import Attempt, Caller, Score, View

CHAT_ABILITIES = frozenset({"system", "stream", "sampling", "tools", "json_object"})
FULL_ABILITIES = CHAT_ABILITIES | {"forced_tools", "json_schema", "parallel_tools"}
ANYONE = Caller(id="k1", name="anyone")


def priced(input_cents: int, output_cents: int) -> tuple[Price, ...]:
    """Prices in cents per million tokens: one cent per million is 10,000 pico-dollars a token."""
    return (Price(rates=Rates(input=input_cents * 10_000, output=output_cents * 10_000)),)


def model(name: str, **facts: Any) -> Model:
    usual: dict[str, Any] = {
        "context_tokens": 200_000,
        "max_output_tokens": 64_000,
        "can": FULL_ABILITIES,
        "prices": priced(100, 500),
    }
    return Model(name=name, **(usual | facts))


def endpoint(provider: str, served: Model, **facts: Any) -> Endpoint:
    usual: dict[str, Any] = {
        "name": f"{provider}/{served.name}",
        "provider": provider,
        "model": served,
        "upstream_model": served.name,
        "dialect": "openai_chat",
        "base_url": "http://127.0.0.1:9",
    }
    return Endpoint(**(usual | facts))


FLAGSHIP = endpoint(
    "acme",
    model(
        "flagship",
        strength=0.95,
        prices=priced(500, 2500),
        accepts=frozenset({"text", "image", "pdf"}),
        can=FULL_ABILITIES | {"reasoning"},
    ),
    expected_first_token_ms=1800.0,
    expected_tokens_per_s=50.0,
)
MID = endpoint(
    "acme",
    model("mid", strength=0.82, prices=priced(200, 1000), can=FULL_ABILITIES | {"reasoning"}),
    expected_first_token_ms=900.0,
    expected_tokens_per_s=80.0,
)
WIDE = endpoint(
    "bolt",
    model("wide", strength=0.68, context_tokens=1_000_000, prices=priced(30, 250)),
    expected_first_token_ms=600.0,
    expected_tokens_per_s=150.0,
)
SMALL = endpoint(
    "bolt",
    model("small", strength=0.62, context_tokens=128_000, prices=priced(25, 200)),
    expected_first_token_ms=350.0,
    expected_tokens_per_s=180.0,
)
LOCAL = endpoint(
    "house",
    model(
        "tiny",
        strength=0.35,
        context_tokens=32_768,
        max_output_tokens=8_192,
        prices=priced(0, 0),
        can=CHAT_ABILITIES,
        open_weights=True,
    ),
    zone="local",
    expected_first_token_ms=400.0,
    expected_tokens_per_s=25.0,
)
EMBEDDER = endpoint(
    "bolt",
    model(
        "vectors",
        context_tokens=8_192,
        can=frozenset({"embed"}),
        prices=(Price(rates=Rates(input=20_000)),),
    ),
)
MARKET = (FLAGSHIP, MID, WIDE, SMALL, LOCAL, EMBEDDER)


def catalog(*endpoints: Endpoint, **facts: Any) -> Catalog:
    """As the registry builds it: every name of every endpoint leads to it."""
    by_name: dict[str, tuple[Endpoint, ...]] = {}
    for one in endpoints:
        for name in {one.model.name, one.upstream_model, one.name}:
            by_name[name] = (*by_name.get(name, ()), one)
    routes: tuple[Route, ...] = facts.pop("routes", default_routes())
    return Catalog(
        endpoints=endpoints,
        by_name=by_name,
        routes={route.name: route for route in routes},
        **facts,
    )


def view(*endpoints: Endpoint, **facts: Any) -> View:
    usual: dict[str, Any] = {"now_s": 1_000.0, "today": "2026-06-01", "dice": 0.0}
    if "catalog" not in facts:
        usual["catalog"] = catalog(*(endpoints or MARKET))
    return View(**(usual | facts))


def ask(text: str = "Hello, how are you today?", /, **facts: Any) -> Request:
    usual: dict[str, Any] = {
        "dialect": "openai_chat",
        "model": "auto",
        "body": b"",
        "messages": (Message("user", (Text(text),)),),
    }
    return Request(**(usual | facts))


def changed(one: Endpoint, **facts: Any) -> Endpoint:
    """The same endpoint with some facts of its model changed."""
    return replace(one, model=replace(one.model, **facts))


def keyed(one: Endpoint, *ids: str) -> Endpoint:
    return replace(one, secrets=tuple(Secret(id=name, env=name) for name in ids))


def attempt(one: Endpoint, secret: Secret | None = None, **facts: Any) -> Attempt:
    usual: dict[str, Any] = {
        "endpoint": one,
        "secret": secret,
        "score": Score(0.5, 0.5, 0.5, 0.5),
        "expected_cost_nano_usd": 1_000,
        "worst_cost_nano_usd": 2_000,
        "expected_ms": 1_000.0,
    }
    return Attempt(**(usual | facts))
