"""What is known of models without asking anyone: prices, limits, capabilities, by who serves them.

Reads one file of this package, ``catalogue.json``, which ``tools/compile_catalogue.py`` makes. No
network, no clock. What is in it and where it comes from: docs/catalogue.md.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.outside.catalogue.names import LATEST, bare, folded, undated
from fairlead.outside.config.kinds import runs
from fairlead.types.catalog import Model

FIREWORKS = "accounts/fireworks/models/"
"""Where its models are; what stands behind it is a name that people use alone."""
FILE = Path(__file__).with_name("catalogue.json")


class Origin(Struct, frozen=True):
    """Where figures come from, and on which terms."""

    name: str
    version: str
    licence: str
    copyright: str
    address: str
    saved: str
    """ISO date on which it was the newest."""


class BuiltIn(Struct, frozen=True):
    """The catalogue of this package; what the file of a gateway says counts more."""

    origins: tuple[Origin, ...]
    hosts: Mapping[str, Mapping[str, Model]]
    """By kind of provider, then by the folded name that this kind has for a model."""
    anywhere: Mapping[str, Model]
    """By bare name, without prices: true of a model whoever serves it."""
    aliases: Mapping[str, str]
    """Dated names for undated ones and the reverse."""
    lineups: Mapping[str, tuple[str, ...]]

    def find(self, kind: str, model: str) -> Model | None:
        """As this kind of provider serves it. Where that is not known, what is true of the model
        anywhere, without a price: a price elsewhere says nothing of the price here."""
        served = self.hosts.get(kind, {})
        for name in self._spellings(model):
            if name in served:
                return served[name]
        known = self.anywhere.get(bare(model))
        if known is None or runs(kind) != "local":
            return known
        # How much a local server holds is up to who started it.
        return msgspec.structs.replace(known, context_tokens=None, max_output_tokens=None)

    def recommended(self, kind: str) -> tuple[str, ...]:
        """The vendor's present line-up, strongest first, then what embeds."""
        return self.lineups.get(kind, ())

    def _spellings(self, model: str) -> Iterator[str]:
        """Ways to write the same name at one host, the most exact first."""
        name = folded(model)
        plain = undated(name).removesuffix(LATEST)
        yield name
        if model in self.aliases:
            yield folded(self.aliases[model])
        yield plain
        if plain in self.aliases:
            yield folded(self.aliases[plain])
        yield plain + LATEST
        yield FIREWORKS + name


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written."""

    origins: tuple[Origin, ...]
    hosts: Mapping[str, tuple[Model, ...]]
    anywhere: tuple[Model, ...]
    aliases: Mapping[str, str]
    lineups: Mapping[str, tuple[str, ...]]


def load(path: Path = FILE) -> BuiltIn:
    """A fresh copy. Whoever wants it at two places passes it on."""
    file = msgspec.json.decode(path.read_bytes(), type=_File)
    return BuiltIn(
        origins=file.origins,
        hosts={
            kind: {folded(model.name): model for model in models}
            for kind, models in file.hosts.items()
        },
        anywhere={model.name: model for model in file.anywhere},
        aliases=file.aliases,
        lineups=file.lineups,
    )
