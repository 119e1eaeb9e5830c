"""Text to Settings: reads the whole file, and tells every mistake in it at once."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.outside.config.mask import masked_lines
from fairlead.outside.config.problems import NOWHERE, ConfigError, Mistake, Source, quoted
from fairlead.outside.config.providers import provider
from fairlead.outside.config.read import Fields, Leaf, Node, read
from fairlead.outside.config.schema import MODEL, ROUTE, SERVER, StatedRule
from fairlead.outside.config.settings import ModelSettings, ServerSettings, Settings
from fairlead.outside.config.shapes import (
    Key,
    Reading,
    Table,
    attempt,
    known_fields,
    many,
    named,
    struct,
)
from fairlead.outside.config.values import name, provider_name
from fairlead.types.catalog import Capability, Modality, Rates, Route, Rule, Shift, Weights, When

DEFAULT_NAME = "fairlead.yaml"


class StatedModel(Struct, frozen=True):
    at: str = ""
    upstream_model: str = ""
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    rates: Rates | None = None
    strength: float | None = None
    accepts: tuple[Modality, ...] | None = None
    capabilities: tuple[str, ...] = ()
    retires: str | None = None
    successor: str | None = None
    shift: Shift | None = None


class StatedRoute(Struct, frozen=True):
    description: str = ""
    models: tuple[str, ...] = ()
    weights: Weights | None = None
    rules: tuple[StatedRule, ...] = ()
    zones: tuple[str, ...] = ()
    max_attempts: int = 3
    deadline_s: float = 600.0
    rescue: bool = True


def load(path: Path) -> Settings:
    """Raises ConfigError with every problem in the file, or because it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        mistake = Mistake(f"cannot be read: {error.strerror}")
        raise ConfigError((Source(str(path)).problem(mistake),)) from None
    except UnicodeDecodeError:
        raise ConfigError((Source(str(path)).problem(Mistake("is not UTF-8")),)) from None
    return parse(text, str(path))


def parse(text: str, name: str = DEFAULT_NAME) -> Settings:
    """``name`` is the file's, for messages; relative paths start at its folder. Raises
    ConfigError."""
    try:
        document = read(text)
    except Mistake as mistake:
        raise ConfigError((Source(name, masked_lines(text)).problem(mistake),)) from None
    reading = Reading(str(Path(name).parent), document)
    parsed = list(attempt(struct(TOP, Settings), document.root, reading))
    source = Source(name, masked_lines(text, reading.secret_spans))
    if reading.mistakes:
        raise ConfigError(source.problem(mistake) for mistake in reading.mistakes)
    settings = parsed[0]
    warnings = (*reading.warnings, *exposed_files(settings))
    return msgspec.structs.replace(
        settings,
        warnings=tuple(str(source.problem(warning)) for warning in warnings),
        uses=tuple(reading.uses),
        source=source,
    )


def model(named: Leaf, node: Node, reading: Reading) -> tuple[ModelSettings, ...]:
    """Its places: one, or a list."""
    if isinstance(node, Leaf) and node.null:
        raise Mistake("say which provider serves it", "such as `my-model: openai`", node.place)

    def placement(node: Node, reading: Reading) -> ModelSettings:
        return place_model(named.text, node, reading)

    placements = many(placement)(node, reading)
    for at, count in Counter(placement.at for placement in placements).items():
        if count > 1:
            mistake = f"{quoted(named.text)} is at {quoted(at)} more than once"
            reading.mistakes.append(Mistake(mistake, place=named.place))
    return placements


def place_model(model: str, node: Node, reading: Reading) -> ModelSettings:
    if isinstance(node, Leaf):
        return ModelSettings(model, at=str(MODEL["at"].parse(node, reading)))
    values = known_fields(node, MODEL, reading)
    stated = msgspec.convert(values, StatedModel)
    if "at" not in written(node):
        raise Mistake("`at` is missing: which provider serves it", place=node.place)
    if stated.successor == model:
        raise Mistake(f"{quoted(model)} cannot succeed itself", place=node.place)
    if stated.shift and not stated.successor and "successor" not in written(node):
        raise Mistake("`shift` needs a `successor` to move to", place=node.place)
    changes = stated.capabilities
    return ModelSettings(
        name=model,
        at=stated.at,
        upstream_model=stated.upstream_model,
        context_tokens=stated.context_tokens,
        max_output_tokens=stated.max_output_tokens,
        rates=stated.rates,
        strength=stated.strength,
        accepts=None if stated.accepts is None else frozenset(stated.accepts),
        gains=capabilities(each for each in changes if not each.startswith("-")),
        loses=capabilities(each[1:] for each in changes if each.startswith("-")),
        retires=stated.retires,
        successor=stated.successor,
        shift=stated.shift,
        place=node.place if stated.shift else NOWHERE,
    )


def written(node: Node) -> set[str]:
    """Keys of a map. What was given and is wrong has been told already."""
    return {key.text for key, _ in node.fields} if isinstance(node, Fields) else set()


def capabilities(names: Iterator[str]) -> frozenset[Capability]:
    return msgspec.convert(frozenset(names), frozenset[Capability])


def route(named: Leaf, node: Node, reading: Reading) -> Route:
    stated = msgspec.convert(known_fields(node, ROUTE, reading), StatedRoute)
    if stated.rules and (stated.models or stated.weights):
        mistake = f"route {quoted(named.text)} has `rules`, and `models` or `weights` beside them"
        raise Mistake(mistake, "put them into a rule", named.place)
    rules = stated.rules or (StatedRule(models=stated.models, weights=stated.weights),)
    always = [number for number, rule in enumerate(rules, 1) if rule.when == When()]
    if always and always[0] < len(rules):
        warning = f"route {quoted(named.text)}: nothing gets past rule {always[0]}"
        reading.warnings.append(Mistake(warning, place=named.place))
    if not always:
        warning = f"route {quoted(named.text)}: a request that no rule fits is refused"
        reading.warnings.append(Mistake(warning, place=named.place))
    return Route(
        name=named.text,
        rules=tuple(rule_of(rule) for rule in rules),
        zones=stated.zones,
        max_attempts=stated.max_attempts,
        deadline_s=stated.deadline_s,
        description=stated.description,
        rescue=stated.rescue,
    )


def rule_of(stated: StatedRule) -> Rule:
    """Models without weights are an order; with weights, what may be ranked."""
    return Rule(
        when=stated.when,
        ordered=bool(stated.models) and stated.weights is None,
        models=stated.models,
        weights=stated.weights or Weights(),
    )


def exposed_files(settings: Settings) -> Iterator[Mistake]:
    """Credential files that others on this machine may read."""
    for each in settings.providers:
        for secret, place in zip(each.secrets, each.secret_places, strict=True):
            if secret.file and others_may_read(secret.file):
                warning = f"{secret.file} can be read by others: chmod 600"
                yield Mistake(warning, place=place)


def others_may_read(file: str) -> bool:
    try:
        return bool(stat.S_IMODE(os.stat(file).st_mode) & 0o077)
    except OSError:
        return False  # that it is missing is told when the credential is looked for


def models(node: Node, reading: Reading) -> tuple[ModelSettings, ...]:
    return tuple(chain.from_iterable(named(name, model)(node, reading)))


TOP: Table = {
    "providers": Key(
        named(provider_name, provider), "map", "none", "Accounts at places, by a name you choose."
    ),
    "models": Key(models, "map", "see Models", "Who serves which model, by the model's name."),
    "routes": Key(
        named(name, route), "map", "see Routes", "Names to ask for, and how they are answered."
    ),
    "server": Key(struct(SERVER, ServerSettings), "map", "see Server", "The gateway itself."),
}
