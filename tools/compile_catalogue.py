"""Compiles ``src/fairlead/outside/catalogue/catalogue.json`` from two published lists of prices.

    python -m tools.compile_catalogue --saved 2026-11-23 \\
        genai_prices_0.2.3.json litellm_model_prices_1.109.1.json

Each file's name ends in its version; ``--saved`` is the day on which both were the newest. Reads no
network. The rules are told in docs/catalogue.md, the figures and decisions in the printed report.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from fairlead.outside.catalogue import FILE, Origin
from fairlead.outside.catalogue.names import folded
from fairlead.outside.config.kinds import KINDS
from fairlead.types.catalog import Model, Price, Rates
from tools.catalogue import genai, litellm
from tools.catalogue.corrections import SPELLINGS
from tools.catalogue.lineups import LINEUPS, UNPRICED
from tools.catalogue.merge import Tally, merged
from tools.catalogue.rows import Rounding

T = TypeVar("T")
Providers = list[dict[str, object]]
Entries = dict[str, dict[str, object]]
VERSION = re.compile(r"_(\d+(?:\.\d+)+)\.json$")


class Catalogue(Struct, frozen=True):
    """What the file holds."""

    origins: tuple[Origin, ...]
    hosts: Mapping[str, Sequence[Model]]
    anywhere: Sequence[Model]
    aliases: Mapping[str, str]
    lineups: Mapping[str, tuple[str, ...]]


class Unsound(Exception):
    """The sources or the tables here do not allow a catalogue to be made."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="compile_catalogue", description=__doc__)
    parser.add_argument("genai", type=Path, help="genai-prices, exported: a list of providers")
    parser.add_argument("litellm", type=Path, help="LiteLLM's model_prices_and_context_window")
    parser.add_argument("--saved", required=True, help="ISO date on which both were the newest")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args(arguments)
    tally, rounding = Tally(), Rounding()
    try:
        catalogue = compiled(given.genai, given.litellm, given.saved, tally, rounding)
    except Unsound as problem:
        print(problem, file=sys.stderr)
        return 1
    given.out.write_text(written(catalogue))
    print("\n".join(report(catalogue, tally, rounding)))
    return 0


def compiled(
    dated: Path,
    broad: Path,
    saved: str,
    tally: Tally,
    rounding: Rounding,
    lineups: Mapping[str, tuple[str, ...]] = LINEUPS,
) -> Catalogue:
    """Raises Unsound when a file has no version or a line-up would not hold."""
    origins = (
        Origin(
            name="genai-prices",
            version=_version(dated),
            licence="MIT",
            copyright="Copyright (c) Pydantic Services Inc. 2025 to present",
            address="https://github.com/pydantic/genai-prices",
            saved=saved,
        ),
        Origin(
            name="litellm",
            version=_version(broad),
            licence="MIT",
            copyright="Copyright (c) 2023 Berri AI",
            address="https://github.com/BerriAI/litellm",
            saved=saved,
        ),
    )
    first, second = (f"{origin.name} {origin.version}" for origin in origins)
    entries = _read(broad, Entries)
    found = merged(
        genai.rows(_read(dated, Providers), first, rounding),
        litellm.rows(entries, second, rounding),
        litellm.unusable(entries),
        saved,
        tally,
    )
    hosts = found.hosts
    if strangers := hosts.keys() - KINDS.keys():
        raise Unsound(f"no kind of provider here: {', '.join(sorted(strangers))}")
    if wrong := list(_wrong(lineups, hosts)):
        raise Unsound("\n".join(wrong))
    return Catalogue(
        origins=origins,
        hosts=hosts,
        anywhere=found.anywhere,
        aliases={**found.aliases, **SPELLINGS},
        lineups={kind: _ordered(names, hosts[kind]) for kind, names in lineups.items()},
    )


def written(catalogue: Catalogue) -> str:
    """One model a line, so that a new version can be read as a difference."""
    hosts = {kind: _lines(models) for kind, models in sorted(catalogue.hosts.items())}
    parts = {
        "origins": _block([_json(_filled(origin)) for origin in catalogue.origins], "[]"),
        "hosts": _block([f"{_json(kind)}:{lines}" for kind, lines in hosts.items()], "{}"),
        "anywhere": _lines(catalogue.anywhere),
        "aliases": _pairs(catalogue.aliases),
        "lineups": _pairs(catalogue.lineups),
    }
    return _block([f"{_json(key)}:{value}" for key, value in parts.items()], "{}") + "\n"


def report(catalogue: Catalogue, tally: Tally, rounding: Rounding) -> Iterator[str]:
    for kind, models in sorted(catalogue.hosts.items()):
        priced = sum(bool(model.prices) for model in models)
        yield f"{kind:12} {len(models):5} models, {priced:5} priced"
    yield f"{'anywhere':12} {len(catalogue.anywhere):5} models"
    for what, count in sorted(tally.counts.items()):
        yield f"{count:6} {what}"
    yield f"{rounding.count:6} rates rounded up to a pico-dollar"
    yield f"{len(tally.disagreements):6} prices on which the sources disagree"
    for each in tally.disagreements:
        chosen, other = (f"{_told(one.rates)} ({one.source})" for one in (each.chosen, each.other))
        yield f"       {each.kind}/{each.name}: {chosen}, not {other}"


def _told(rates: Rates) -> str:
    return "/".join(
        "?" if rate is None else f"${Decimal(rate) / 10**6:f}"
        for rate in (rates.input, rates.output)
    )


def _wrong(
    lineups: Mapping[str, tuple[str, ...]], hosts: Mapping[str, Sequence[Model]]
) -> Iterator[str]:
    """What is recommended has to be known whole, and to last."""
    for kind, names in lineups.items():
        known = {model.name: model for model in hosts.get(kind, ())}
        for name in names:
            model = known.get(name)
            if model is None:
                yield f"line-up of {kind}: {name} is in no source"
            elif not model.prices and kind not in UNPRICED:
                yield f"line-up of {kind}: {name} has no price"
            elif model.context_tokens is None:
                yield f"line-up of {kind}: nobody knows how much {name} holds"
            elif model.retires and not name.startswith("gemini-embedding"):
                yield f"line-up of {kind}: {name} retires on {model.retires}"


def _ordered(names: Sequence[str], models: Sequence[Model]) -> tuple[str, ...]:
    """Strongest first, then what embeds."""
    known = {model.name: model for model in models}
    return tuple(
        sorted(names, key=lambda name: ("embed" in known[name].can, -known[name].strength))
    )


def _version(path: Path) -> str:
    found = VERSION.search(path.name)
    if found is None:
        raise Unsound(f"{path.name}: a source's file name ends in its version, such as _1.2.3.json")
    return found[1]


def _read(path: Path, shape: type[T]) -> T:
    """Decimals, digit for digit: no price was ever a float here."""
    try:
        read = json.loads(path.read_bytes(), parse_float=Decimal, parse_int=Decimal)
        return msgspec.convert(read, shape)
    except (OSError, ValueError) as problem:  # msgspec's ValidationError is a ValueError
        raise Unsound(f"{path.name}: {problem}") from problem


def _filled(value: Struct) -> dict[str, object]:
    """Without what is at its default."""
    fields: dict[str, object] = {}
    defaults = type(value)("") if isinstance(value, Model) else None
    for name in value.__struct_fields__:
        field = getattr(value, name)
        if defaults is not None and name != "name" and field == getattr(defaults, name):
            continue
        fields[name] = field
    return fields


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """Structs without what is at its default, sets in order."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Model | Origin):
        return _filled(value)
    if isinstance(value, Struct):
        empty: object = () if isinstance(value, Price) else None
        return {
            name: field
            for name in value.__struct_fields__
            if (field := getattr(value, name)) not in (None, "", empty)
        }
    raise TypeError(f"cannot be written: {type(value).__name__}")


def _lines(models: Sequence[Model]) -> str:
    ordered = sorted(models, key=lambda model: folded(model.name))
    return _block([_json(model) for model in ordered], "[]")


def _pairs(pairs: Mapping[str, object]) -> str:
    return _block([f"{_json(key)}:{_json(value)}" for key, value in sorted(pairs.items())], "{}")


def _block(lines: Sequence[str], brackets: str) -> str:
    return brackets[0] + "\n" + ",\n".join(lines) + "\n" + brackets[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
