"""Two sources' rows to one model each: whose price counts, what is filled in from where, what is
left out. The rules are those of docs/catalogue.md; whatever is decided is counted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, timedelta

from msgspec import Struct
from msgspec.structs import replace

from fairlead.decide.cost import price_on
from fairlead.outside.catalogue.names import bare, date_of, undated
from fairlead.types.catalog import Capability, Modality, Model, Price, Rates, Tier
from tools.catalogue.corrections import LIKE, NOT_SOLD, STILL_SERVED, corrected, open_weights
from tools.catalogue.rows import Row, charges, matches
from tools.catalogue.strength import strength

VENDORS = ("openai", "anthropic", "gemini", "mistral", "deepseek", "xai", "moonshot", "perplexity")
"""Kinds that serve what they make: what they say of it counts more than what others say."""
FORGOTTEN_DAYS = 365
"""What was retired longer ago is left out."""
FREE = Rates(input=0, output=0, cached_read=0, cached_write=0, cached_write_1h=0, reasoning=0)
FREE_VARIANT = ":free"
"""OpenRouter's own mark of a variant that costs nothing."""
BATCH_VARIANT = ":batch"
MOVING = "~"
"""OpenRouter's mark of a name that is another model from time to time."""
PLAIN: frozenset[Capability] = frozenset({"system", "stream", "sampling"})
"""Of a chat model that no source describes."""


class Disagreement(Struct, frozen=True):
    kind: str
    name: str
    chosen: Price
    other: Price


class Tally:
    """What happened on the way, for the report."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.disagreements: list[Disagreement] = []


class Traits(Struct, frozen=True):
    """What is true of a model whoever serves it."""

    can: frozenset[Capability] | None = None
    accepts: frozenset[Modality] | None = None
    max_output_tokens: int | None = None


class Merged(Struct, frozen=True):
    hosts: dict[str, list[Model]]
    """By kind."""
    anywhere: list[Model]
    aliases: dict[str, str]


def merged(
    dated: Iterable[Row],
    broad: Iterable[Row],
    unusable: Set[tuple[str, str]],
    saved: str,
    tally: Tally,
) -> Merged:
    """``dated``: the source whose prices have dates; ``broad``: the one that knows what models can
    do. ``unusable``: kind and name of what cannot be asked as we ask. ``saved``: the ISO date on
    which both were the newest."""
    priced = [row for row in dated if (row.kind, row.name) not in unusable]
    ours = {(row.kind, row.name): row for row in _batches_folded(_named_fully(priced))}
    theirs = {(row.kind, row.name): row for row in _named_fully(list(broad))}
    traits = _traits([*theirs.values(), *ours.values()])
    hosts: dict[str, list[Model]] = {}
    for key in sorted(ours.keys() | theirs.keys()):
        broad_row = theirs.get(key)
        dated_row = ours.get(key) or _family(broad_row, ours, saved)
        model = _model(dated_row, broad_row, traits, saved, tally)
        if model is not None:
            hosts.setdefault(key[0], []).append(model)
    aliases: dict[str, str] = {}
    for models in hosts.values():
        aliases |= _aliases(models)
    kept = {kind: list(_twins_folded(models, tally)) for kind, models in hosts.items()}
    return Merged(kept, _anywhere(kept, traits), aliases)


def _family(row: Row | None, dated: Mapping[tuple[str, str], Row], saved: str) -> Row | None:
    """The dated source has one row for all snapshots of a model, unless one has another price."""
    family = row and dated.get((row.kind, undated(row.name)))
    if not row or not family or family.name == row.name or not row.prices:
        return None
    rates = _in_force(family.prices, saved)
    return family if rates and _agree(rates, row.prices[0].rates) else None


def _aliases(models: list[Model]) -> dict[str, str]:
    """Dated names for the undated one that they do not differ from, and undated names for the
    newest dated one."""
    by_name = {model.name: model for model in models}
    found: dict[str, str] = {}
    for name, model in sorted(by_name.items()):
        plain = undated(name)
        if plain == name:
            continue
        if plain not in by_name or _same(by_name[plain], model):
            found[plain] = name  # in order: the newest comes last
        if plain in by_name and _same(by_name[plain], model):
            found[name] = plain
    return found


def _same(one: Model, other: Model) -> bool:
    """But for what goes without saying: names and dates."""
    plain = (replace(each, name="", released="", retires="") for each in (one, other))
    return next(plain) == next(plain)


def _anywhere(hosts: dict[str, list[Model]], traits: dict[str, Traits]) -> list[Model]:
    """Each model once, by its bare name and without prices. Limits are its vendor's, else the
    least of what its hosts offer."""
    served: dict[str, list[tuple[str, Model]]] = {}
    for kind, models in hosts.items():
        for model in models:
            if not model.name.startswith(MOVING):
                served.setdefault(bare(model.name), []).append((kind, model))
    found = []
    for name, each in sorted(served.items()):
        own = [model for vendor in VENDORS for kind, model in each if kind == vendor][:1]
        models = own or [model for _, model in each]
        general = traits.get(name, Traits())
        embeds = "embed" in models[0].can
        found.append(
            replace(
                models[0],
                name=name,
                context_tokens=_least(model.context_tokens for model in models),
                max_output_tokens=_least(model.max_output_tokens for model in models),
                accepts=frozenset({"text"}) if embeds else general.accepts or models[0].accepts,
                can=models[0].can if embeds else corrected(general.can or PLAIN, "", name),
                prices=(),
                strength=min(model.strength for model in models),
                retires="",
            )
        )
    return found


def _named_fully(rows: list[Row]) -> list[Row]:
    """Fireworks' models have folders in their names, which the sources leave out at times."""
    full = {
        row.name.rsplit("/", 1)[-1]: row.name for row in rows if row.name.startswith("accounts/")
    }
    named: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.kind == "fireworks" and "/" not in row.name:
            name = full.get(row.name, f"accounts/fireworks/models/{row.name}")
            named.setdefault((row.kind, name), replace(row, name=name))
        else:
            named[row.kind, row.name] = row
    return list(named.values())


def _batches_folded(rows: list[Row]) -> Iterator[Row]:
    """OpenRouter lists batches as variants; here they are rates of the model itself."""
    variants = {row.name: row for row in rows if row.name.endswith(BATCH_VARIANT)}
    for row in rows:
        batch = variants.get(row.name + BATCH_VARIANT)
        if row.name in variants:
            continue
        if batch and batch.prices and row.prices:
            cheap, last = batch.prices[-1].rates, row.prices[-1]
            rates = replace(last.rates, batch_input=cheap.input, batch_output=cheap.output)
            yield replace(row, prices=(*row.prices[:-1], replace(last, rates=rates)))
        else:
            yield row


def _traits(rows: Sequence[Row]) -> dict[str, Traits]:
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(bare(row.name), []).append(row)
    traits = {name: _traits_of(same) for name, same in by_name.items()}
    for name, like in LIKE.items():
        if like in traits:
            traits[name] = traits[like]
    return traits


def _traits_of(rows: Sequence[Row]) -> Traits:
    """As the vendor has it; without one, the union of what hosts say."""
    told = [row for row in rows if row.can is not None]
    own = [row for vendor in VENDORS for row in told if row.kind == vendor][:1]
    said = own or told
    if not said:
        return Traits()
    can = frozenset[Capability]().union(*(row.can or () for row in said))
    accepts = frozenset[Modality]().union(*(row.accepts or ("text",) for row in said))
    return Traits(
        can=can,
        accepts=accepts,
        max_output_tokens=_least(row.max_output_tokens for row in said),
    )


def _model(
    dated: Row | None, broad: Row | None, traits: dict[str, Traits], saved: str, tally: Tally
) -> Model | None:
    """None for what is long gone, or so little known that it is of no use."""
    row = broad or dated
    assert row is not None
    name = bare(row.name)
    general = traits.get(name, Traits())
    served = matches(row.name, STILL_SERVED.get(row.kind, ("*",)))
    if not served or matches(row.name, NOT_SOLD.get(row.kind, ())):
        tally.counts["left out: known not to be served"] += 1
        return None
    retires = broad.retires if broad else ""
    if retires and date.fromisoformat(retires) < _forgotten(saved):
        tally.counts["left out: retired for more than a year"] += 1
        return None
    prices = _prices(dated, broad, saved, tally)
    can, accepts = _abilities(dated, broad, general, tally)
    if can is None and not prices and row.context_tokens is None:
        tally.counts["left out: nothing known"] += 1
        return None
    if not row.embeds and not (broad and broad.embeds) and _only_reads(prices):
        tally.counts["left out: gives no text"] += 1
        return None
    rates = _in_force(prices, saved)
    embeds = row.embeds or (broad is not None and broad.embeds)
    window = _context(dated, broad)
    return Model(
        name=row.name,
        context_tokens=window,
        max_output_tokens=_max_output(broad, general, window),
        accepts=frozenset({"text"}) if embeds else accepts,
        can=corrected(frozenset({"embed"}) if embeds else can or PLAIN, row.kind, name),
        prices=prices,
        strength=strength(name, rates, embeds),
        open_weights=open_weights(name),
        released=date_of(row.name),
        retires=retires,
    )


def _only_reads(prices: Sequence[Price]) -> bool:
    """A price for input alone: it ranks, sorts or decides, and is no chat model."""
    return bool(prices) and all(price.rates.output is None for price in prices)


def _abilities(
    dated: Row | None, broad: Row | None, general: Traits, tally: Tally
) -> tuple[frozenset[Capability] | None, frozenset[Modality]]:
    """Its own flags, else those of the same model elsewhere. Input that costs more than text is
    none that it takes: a price has one rate for all input."""
    can = broad.can if broad and broad.can is not None else general.can
    accepts = broad.accepts if broad and broad.accepts is not None else general.accepts
    if can is not None and (broad is None or broad.can is None):
        tally.counts["described by the same model elsewhere"] += 1
    dearer = (dated.dearer if dated else frozenset()) | (broad.dearer if broad else frozenset())
    takes = (accepts or frozenset({"text"})) - (dearer - {"text"})
    if accepts and takes != accepts:
        tally.counts["take input that costs more than text, which is left out"] += 1
    return can, takes


def _context(dated: Row | None, broad: Row | None) -> int | None:
    """The whole window. Where one source gives input alone, its input and output are the other's
    window; else the one that does not round counts."""
    window = dated.context_tokens if dated else None
    asked = broad.context_tokens if broad else None
    if window and asked and broad and asked + (broad.max_output_tokens or 0) == window:
        return window
    return asked or window


def _max_output(broad: Row | None, general: Traits, window: int | None) -> int | None:
    most = (broad and broad.max_output_tokens) or general.max_output_tokens
    return None if most is None or (window and most >= window) else most


def _prices(dated: Row | None, broad: Row | None, saved: str, tally: Tally) -> tuple[Price, ...]:
    """Empty when nobody knows."""
    if any(row and row.beyond_tokens for row in (dated, broad)):
        tally.counts["unknown: charged by the request too"] += 1
        return ()
    ours, theirs = (dated.prices if dated else ()), (broad.prices if broad else ())
    if not ours and not theirs:
        return _free(dated, broad, tally)
    if not ours or not theirs or dated is None:
        tally.counts[f"priced by {(ours or theirs)[0].source}"] += 1
        return ours or theirs
    now, other = price_on(Model("", prices=ours), saved), theirs[0]
    if now is None or not charges(other.rates):
        tally.counts[f"priced by {ours[0].source}"] += 1
        return ours
    if _agree(now.rates, other.rates):
        tally.counts["priced alike by both"] += 1
        both = _filled(now, other)
        return tuple(both if price is now else price for price in ours)
    chosen = ours if dated.dated or _sum(now.rates) >= _sum(other.rates) else theirs
    pair = (now, other) if chosen is ours else (other, now)
    tally.disagreements.append(Disagreement(dated.kind, dated.name, *pair))
    return chosen


def _free(dated: Row | None, broad: Row | None, tally: Tally) -> tuple[Price, ...]:
    """Zeros alone are what a list holds where it knows nothing. They are believed when both
    sources have them, or when the seller's own name for it says that it is free."""
    if dated and dated.says_free and broad and broad.says_free:
        tally.counts["free: both sources say so"] += 1
        return (Price(rates=FREE, source=f"{dated.source}, {broad.source}"),)
    if dated and dated.says_free and dated.name.endswith(FREE_VARIANT):
        tally.counts["free: the seller's own name for it says so"] += 1
        return (Price(rates=FREE, source=dated.source),)
    tally.counts["unknown: no price, or zeros that only one source has"] += 1
    return ()


def _agree(ours: Rates, theirs: Rates) -> bool:
    return (ours.input, ours.output) == (theirs.input, theirs.output)


def _sum(rates: Rates) -> int:
    return (rates.input or 0) + (rates.output or 0)


def _filled(ours: Price, theirs: Price) -> Price:
    """Sources that agree on what tokens cost fill each other's gaps."""
    tiers = theirs.tiers
    if ours.tiers:
        tiers = tuple(
            Tier(tier.above_input_tokens, _with_gaps_filled(tier.rates, _near(tier, theirs)))
            for tier in ours.tiers
        )
    return replace(
        ours,
        rates=_with_gaps_filled(ours.rates, theirs.rates),
        tiers=tiers,
        source=f"{ours.source}, {theirs.source}",
    )


def _near(tier: Tier, other: Price) -> Rates:
    """The other's rates from the same threshold: one says 199,999 where the other says 200,000."""
    for theirs in other.tiers:
        if abs(theirs.above_input_tokens - tier.above_input_tokens) <= 1 and _agree(
            tier.rates, theirs.rates
        ):
            return theirs.rates
    return Rates()


def _with_gaps_filled(rates: Rates, other: Rates) -> Rates:
    gaps = {
        name: getattr(other, name)
        for name in Rates.__struct_fields__
        if getattr(rates, name) is None
    }
    return replace(rates, **gaps)


def _in_force(prices: tuple[Price, ...], saved: str) -> Rates | None:
    price = price_on(Model("", prices=prices), saved)
    return price.rates if price else None


def _twins_folded(models: list[Model], tally: Tally) -> Iterator[Model]:
    """A dated snapshot that differs from its undated name in nothing is only another name."""
    by_name = {model.name: model for model in models}
    released: dict[str, str] = {}
    kept: list[Model] = []
    for model in models:
        plain = by_name.get(undated(model.name))
        if plain is None or plain is model:
            kept.append(model)
            continue
        day = released.get(plain.name, model.released)
        released[plain.name] = min(day, model.released)
        if _same(plain, model) and model.retires == plain.retires:
            tally.counts["dated names folded into undated ones"] += 1
        else:
            kept.append(model)
    for model in kept:
        yield replace(model, released=model.released or released.get(model.name, ""))


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _forgotten(saved: str) -> date:
    return date.fromisoformat(saved) - timedelta(days=FORGOTTEN_DAYS)
