"""What a seed tells: who serves, who asks, with what keys, and what goes wrong when. Only data."""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from fairlead.decide.routes import default_routes
from fairlead.state.keys import PREFIX, KeyRow
from fairlead.types.catalog import (
    Capability,
    Catalog,
    Endpoint,
    Model,
    Price,
    Rates,
    Route,
    Rule,
    Secret,
    Timeouts,
)
from fairlead.types.decision import Caller, Limits
from prove.simulation.answers import ANTHROPIC, OPENAI
from prove.simulation.chance import Chance
from prove.simulation.vendors import MOODS, Vendor

PEPPER = b"simulated pepper, 32 bytes long."
LIST = "list"
STARTS_S = 1000.0
MIDNIGHTS_S = (1_795_564_800, 1_796_083_200, 1_798_761_600)
"""The ends of 2026-11-24, of November and of 2026: a day, a month and a year end in UTC."""


class Holder(Struct, frozen=True):
    """A key, with what only its holder knows."""

    key: str
    row: KeyRow


class Ask(Struct, frozen=True):
    """One request that a client will make, and how it behaves."""

    number: int
    at_s: float
    holder: int
    dialect: str
    model: str
    stream: bool
    words: int
    padding: int
    max_tokens: int | None
    zone: str
    """Narrows the request to a zone; empty asks for none."""
    leaves_s: float | None
    """Cancelled so long after it was sent."""
    leaves_after: int | None
    """Closed by the client after so many pieces."""
    slow_s: float
    """It takes so long over each piece."""
    key: str = ""
    """Its ``idempotency-key``."""
    says: int = 0
    """The number of the request whose words it repeats; 0 for its own."""
    idles_s: float | None = None
    """It connects so long before it asks; None for at once."""
    body_after_s: float | None = None
    """The body comes so long after the head; None for together."""
    holds: int = 0
    """So many bytes of its answer may be on their way."""
    dies_then: bool = False
    """The gateway dies at the moment at which it has its answer."""


class Event(Struct, frozen=True):
    """Something that happens to the gateway from outside: ``what`` is a method of the world's."""

    at_s: float
    what: str
    amount: float = 0.0


class Story(Struct):
    seed: int
    catalog: Catalog
    vendors: list[Vendor]
    holders: list[Holder]
    asks: list[Ask]
    events: list[Event]
    wall_s: float
    late_s: float
    round_s: float
    slow_disk_s: float
    storm_s: float
    """How long the bad times last."""


def tell(seed: int) -> Story:
    chance = Chance(seed)
    storm_s = chance.one_of((10.0, 30.0, 60.0))
    # Each part has a chance of its own: a change to one leaves the others as they were.
    endpoints = _endpoints(Chance(f"{seed} endpoints"))
    catalog = _catalog(endpoints, Chance(f"{seed} routes"))
    holders = _holders(endpoints, Chance(f"{seed} keys"))
    asks = _asks(catalog, len(holders), storm_s, Chance(f"{seed} requests"))
    moods = Chance(f"{seed} moods")
    midnight_s = chance.one_of(MIDNIGHTS_S)
    return Story(
        seed=seed,
        catalog=catalog,
        vendors=[_vendor(one, storm_s, moods) for one in endpoints],
        holders=holders,
        asks=asks,
        events=_events(storm_s, Chance(f"{seed} events")),
        wall_s=midnight_s - STARTS_S - chance.between(0.0, 2 * storm_s),
        late_s=chance.one_of((0.0, 1e-6, 1e-3, 0.02)),
        round_s=chance.one_of((0.0, 1e-5, 1e-3)),
        slow_disk_s=chance.one_of((1e-4, 2e-3, 0.05, 0.5)),
        storm_s=storm_s,
    )


def _endpoints(chance: Chance) -> list[Endpoint]:
    count = chance.one_of((1, 2, 2, 3, 3, 4))
    quick = Timeouts(1.0, chance.one_of((1.0, 3.0)), chance.one_of((0.8, 2.0)))
    endpoints = []
    for number in range(count):
        provider = chance.one_of("ab") if count > 1 else "a"
        name = chance.one_of(("m", "m", "n"))
        rates = Rates(chance.whole(1, 40) * 100_000, chance.whole(1, 90) * 100_000)
        can: set[Capability] = {"system", "stream", "sampling"}
        if chance.happens(0.5):
            can.add("prefill")
        model = Model(
            name,
            context_tokens=chance.one_of((None, 8_000, 100_000)),
            max_output_tokens=chance.one_of((300, 1_000, 4_000)),
            can=frozenset(can),
            prices=(Price(rates, source="list"),) if chance.happens(0.93) else (),
            strength=0.5 + 0.1 * chance.whole(0, 4),
        )
        secrets = tuple(
            Secret(f"env:{provider.upper()}{one}", env=f"{provider.upper()}{one}")
            for one in range(chance.one_of((0, 1, 1, 2)))
        )
        endpoints.append(
            Endpoint(
                name=f"{provider}{number}/{name}",
                provider=provider,
                model=model,
                upstream_model=name,
                dialect=chance.one_of((OPENAI, OPENAI, ANTHROPIC)),
                base_url=f"http://127.0.0.1:{number + 1}/v1",
                signer="bearer" if secrets else "none",
                secrets=secrets,
                zone=chance.one_of(("cloud", "cloud", "local")),
                timeouts=quick,
                expected_tokens_per_s=1_000.0,
            )
        )
    return endpoints


def _catalog(endpoints: list[Endpoint], chance: Chance) -> Catalog:
    by_name: dict[str, tuple[Endpoint, ...]] = {}
    for one in endpoints:
        for name in (one.model.name, one.name):
            by_name[name] = (*by_name.get(name, ()), one)
    most = chance.one_of((1, 2, 3, 5))
    deadline_s = chance.one_of((3.0, 8.0, 30.0))
    routes = [
        replace(route, max_attempts=most, deadline_s=deadline_s) for route in default_routes()
    ]
    in_order = Rule(ordered=True, models=tuple(one.name for one in endpoints))
    routes.append(Route(LIST, (in_order,), max_attempts=most, deadline_s=deadline_s))
    return Catalog(tuple(endpoints), by_name, {route.name: route for route in routes})


def _holders(endpoints: list[Endpoint], chance: Chance) -> list[Holder]:
    """The last may do everything."""
    holders = []
    for number in range(chance.whole(1, 3)):
        dear = chance.one_of(endpoints).model
        rates = dear.prices[0].rates if dear.prices else Rates(1_000_000, 1_000_000)
        worst_nano_usd = (rates.output or 0) * (dear.max_output_tokens or 0) // 1_000
        day = int(worst_nano_usd * chance.one_of((0.3, 1.0, 1.5, 2.5, 6.0)))
        month = int(day * chance.one_of((1.0, 1.3, 3.0)))
        limits = Limits(
            requests_per_minute=chance.one_of((None, None, 4, 20)),
            tokens_per_minute=chance.one_of((None, None, None, 3_000)),
            budget_day_nano_usd=chance.one_of((None, day, day)),
            budget_month_nano_usd=chance.one_of((None, month)),
        )
        zones = ("local",) if chance.happens(0.15) else ()
        models = (chance.one_of(endpoints).name,) if chance.happens(0.15) else ()
        caller = Caller(f"key_{number}", f"team {number}", (), models, zones, limits)
        holders.append(_holder(number, caller))
    holders.append(_holder(9, Caller("key_9", "anybody")))
    return holders


def _holder(number: int, caller: Caller) -> Holder:
    key = PREFIX + urlsafe_b64encode(bytes([number]) * 32).rstrip(b"=").decode()
    digest = hmac.new(PEPPER, key.encode(), sha256).digest()
    return Holder(key, KeyRow(caller, digest, number))


def _vendor(endpoint: Endpoint, storm_s: float, chance: Chance) -> Vendor:
    moods: list[tuple[float, str]] = []
    at_s, trouble = STARTS_S, chance.random()
    while at_s < STARTS_S + storm_s:
        at_s += chance.between(0.1, 0.7) * storm_s
        mood = chance.one_of(tuple(MOODS)) if chance.happens(trouble) else "well"
        moods.append((min(at_s, STARTS_S + storm_s), mood))
    first_s = chance.one_of((0.01, 0.2, 0.6))
    return Vendor(endpoint, moods, first_s, piece_s=chance.one_of((0.0, 0.01, 0.1)))


def _asks(catalog: Catalog, holders: int, storm_s: float, chance: Chance) -> list[Ask]:
    """They come in bursts, so that what only happens together happens."""
    names = (LIST, LIST, "auto", "cheap", *catalog.by_name)
    patient = chance.random()
    budgeted, rush = chance.happens(0.5), chance.happens(0.2)
    asks: list[Ask] = []
    at_s = STARTS_S + 0.1
    for _ in range(chance.whole(4, 8) if rush else chance.whole(2, 6)):
        together = chance.whole(3, 8) if rush else chance.one_of((1, 1, 2, 4, 6))
        spread_s = chance.one_of((0.0, 0.0, 0.01, 1.0))
        model = chance.one_of(names)
        for _ in range(together):
            leaves = chance.happens(0.3 * patient)
            most = chance.one_of((None, None, 3, 200))
            asks.append(
                Ask(
                    number=len(asks) + 1,
                    at_s=at_s + spread_s * chance.random(),
                    holder=holders - 1 if rush else 0 if budgeted else chance.whole(0, holders - 1),
                    dialect=chance.one_of((OPENAI, OPENAI, ANTHROPIC)),
                    model=model if chance.happens(0.8) else chance.one_of(names),
                    stream=chance.happens(0.6),
                    words=chance.whole(1, 6),
                    padding=chance.one_of((0, 0, 20, 100)),
                    max_tokens=most,
                    zone="local" if chance.happens(0.05) else "",
                    leaves_s=chance.random() * chance.one_of((0.1, 1.0, 8.0)) if leaves else None,
                    leaves_after=chance.whole(0, 4) if chance.happens(0.1 * patient) else None,
                    slow_s=chance.one_of((0.5, 3.0)) if chance.happens(0.05) else 0.0,
                )
            )
        at_s += min(storm_s, 15.0 if rush else 1e9) * 0.3 * chance.random()
    return asks


def _events(storm_s: float, chance: Chance) -> list[Event]:
    def some(what: str, likely: float, amounts: tuple[float, ...]) -> list[Event]:
        if not chance.happens(likely):
            return []
        count = chance.whole(1, 3)
        times = [STARTS_S + storm_s * chance.random() for _ in range(count)]
        return [Event(at_s, what, chance.one_of(amounts)) for at_s in times]

    # The clock is set a few times, or swings once: the ledger knows the windows it left lately.
    sets = some("set_clock", 0.25, (-86_400.0, -3_600.0, -3.0, 3.0, 3_600.0, 86_400.0, 2e6))
    swings = some("swing_clock", 0.15, (86_400.0, 2 * 86_400.0, -86_400.0))[:1]
    return sorted(
        [
            *(swings or sets),
            *some("crash", 0.3, (0.05, 1.0, 5.0)),
            *some("crash_at_commit", 0.3, (1.0, 2.0, 5.0)),
            *some("stall_loop", 0.2, (0.05, 0.5, 4.0)),
            *some("stick_disk", 0.15, (0.5, 5.0)),
            *some("fill_disk", 0.15, (0.5, 3.0, 8.0)),
            *some("reload", 0.15, (0.0,)),
            *some("revoke", 0.05, (0.0,)),
        ],
        key=lambda event: event.at_s,
    )
