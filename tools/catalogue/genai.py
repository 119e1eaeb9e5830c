"""Pydantic's genai-prices: a list of providers, dollars per million tokens. Knows from which dates
prices hold, and nothing of what a model can do."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec

from fairlead.types.catalog import Modality, Price, Rates, Tier
from tools.catalogue.rows import TOKENS_PER_MTOK, UNUSABLE, Rounding, Row, whole

KINDS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "gemini",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "x-ai": "xai",
    "groq": "groq",
    "together": "together",
    "fireworks": "fireworks",
    "openrouter": "openrouter",
    "cerebras": "cerebras",
    "moonshotai": "moonshot",
    "perplexity": "perplexity",
}
"""The source's providers, by the kind that we know each as. Its ``huggingface_*`` are another
seller's prices for the same machines, so they are left out."""

RATES: Mapping[str, str] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_read": "cache_read_mtok",
    "cached_write": "cache_write_mtok",
    "cached_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
}
DEARER: Mapping[Modality, str] = {
    "image": "input_image_mtok",
    "audio": "input_audio_mtok",
    "video": "input_video_mtok",
}
BEYOND_TOKENS = frozenset({"requests_kcount", "output_citation_mtok"})
GOOGLES_OWN = ("gemini-", "gemma-")
"""The rest of its Google list is sold on Vertex AI."""

NAMED_ANEW = frozenset({"gemini-pro"})
"""Ids of models long gone whose names mean others by now."""

Terms = Mapping[str, object]


def rows(
    providers: Sequence[Mapping[str, object]], source: str, rounding: Rounding
) -> Iterator[Row]:
    for provider in providers:
        kind = KINDS.get(str(provider["id"]))
        models = provider["models"]
        if kind is None or not isinstance(models, list):
            continue
        for entry in models:
            if _usable(kind, str(entry["id"])):
                yield _row(kind, entry, source, rounding)


def _usable(kind: str, name: str) -> bool:
    if name in NAMED_ANEW or (kind == "gemini" and not name.startswith(GOOGLES_OWN)):
        return False
    # Names without a vendor are not names at OpenRouter.
    return not UNUSABLE.search(name) and (kind != "openrouter" or "/" in name)


def _row(kind: str, entry: Mapping[str, object], source: str, rounding: Rounding) -> Row:
    name, told = str(entry["id"]), entry["prices"]
    embeds = "embed" in name
    stretches = _stretches(told)
    prices = tuple(_prices(stretches, embeds, source, rounding))
    return Row(
        kind=kind,
        name=name,
        source=source,
        embeds=embeds,
        context_tokens=whole(entry, "context_window"),
        prices=prices,
        dearer=frozenset(
            modality
            for modality, key in DEARER.items()
            if any(_base(terms, key) > _base(terms, "input_mtok") for _, terms in stretches)
        ),
        says_free=told == {},
        beyond_tokens=any(BEYOND_TOKENS & terms.keys() for _, terms in stretches),
        dated=len(prices) > 1,
    )


def _stretches(told: object) -> list[tuple[str, Terms]]:
    """Terms by the date from which they hold. Where they change by the hour, the dearest hour
    counts all day: an amount may then come out too large, never too small."""
    if isinstance(told, Mapping):
        return [("", told)]
    dated: dict[str, Terms] = {}
    hourly: list[Terms] = []
    for each in told if isinstance(told, list) else ():
        constraint, terms = each.get("constraint") or {}, each["prices"]
        if "start_time" in constraint:
            hourly.append(terms)
        else:
            dated[str(constraint.get("start_date", ""))] = terms
    ordered = sorted(dated.items())
    for terms in hourly:
        date, last = ordered[-1]
        ordered[-1] = (date, {key: _dearer(last, terms, key) for key in {**last, **terms}})
    return ordered


def _dearer(one: Terms, other: Terms, key: str) -> object:
    return one.get(key) if _base(one, key) >= _base(other, key) else other[key]


def _prices(
    stretches: Sequence[tuple[str, Terms]], embeds: bool, source: str, rounding: Rounding
) -> Iterator[Price]:
    """One price for each stretch, each ending where the next begins."""
    found: list[Price] = []
    for start, terms in stretches:
        price = Price(
            rates=_rates(terms, 0, embeds, rounding),
            tiers=tuple(
                Tier(above, _rates(terms, above, embeds, rounding)) for above in _thresholds(terms)
            ),
            effective_from=start,
            source=source,
        )
        same = found and (found[-1].rates, found[-1].tiers) == (price.rates, price.tiers)
        if not same and price.rates != Rates() and price.rates != Rates(output=0):
            found.append(price)
    for price, following in pairwise(found):
        yield msgspec.structs.replace(price, effective_until=following.effective_from)
    yield from found[-1:]


def _thresholds(terms: Terms) -> list[int]:
    starts = set()
    for value in terms.values():
        if isinstance(value, Mapping):
            starts |= {int(tier["start"]) for tier in value["tiers"]}
    return sorted(starts)


def _rates(terms: Terms, above: int, embeds: bool, rounding: Rounding) -> Rates:
    """Those in force above a threshold; a rate without tiers is the same at any length."""
    found: dict[str, int] = {}
    for rate, key in RATES.items():
        usd = _at(terms.get(key), above)
        if usd:
            found[rate] = rounding.pico_per_token(usd, TOKENS_PER_MTOK)
    if embeds:
        found["output"] = 0  # there is none to charge
    return Rates(**found)


def _at(told: object, above: int) -> Decimal | None:
    if not isinstance(told, Mapping):
        return told if isinstance(told, Decimal) else None
    rate: Decimal | None = told["base"]
    for tier in told["tiers"]:
        if int(tier["start"]) <= above:
            rate = tier["price"]
    return rate


def _base(terms: Terms, key: str) -> Decimal:
    return _at(terms.get(key), 0) or Decimal(0)
