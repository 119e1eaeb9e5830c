"""The shapes a value can have: one, one or several, a map of known keys, a map of free names."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from fairlead.outside.config.mask import TELLING_NAME
from fairlead.outside.config.problems import Mistake, did_you_mean, quoted
from fairlead.outside.config.read import Document, Fields, Items, Leaf, Node
from fairlead.outside.config.settings import Use

T = TypeVar("T")


class Reading:
    """What is gathered on one way through a file."""

    def __init__(self, folder: str, document: Document) -> None:
        self.folder = folder
        """Relative paths in the file start here."""
        self.mistakes = list(document.mistakes)
        self.warnings: list[Mistake] = []
        self.uses: list[Use] = []
        self.secret_spans = list(document.unread)

    def hide(self, node: Node) -> None:
        """Never show what this node holds."""
        self.secret_spans.extend(leaf.span for leaf in leaves(node))


Parse = Callable[[Node, Reading], T]
"""A node to a value. Raises Mistake when there is none; smaller mistakes inside a collection are
added to the reading, so that all are told at once."""


class Key(Struct, frozen=True):
    """A key that a map may hold. ``type``, ``default`` and ``about`` are its row in the docs."""

    parse: Parse[object]
    type: str
    default: str
    about: str
    field: str = ""
    """Name of the Struct's field, where it differs from the key."""


Table = Mapping[str, Key]


def leaves(node: Node) -> Iterator[Leaf]:
    """Every scalar below, but no key."""
    if isinstance(node, Leaf):
        yield node
    for below in node.items if isinstance(node, Items) else ():
        yield from leaves(below)
    for _, below in node.fields if isinstance(node, Fields) else ():
        yield from leaves(below)


def scalar(node: Node) -> Leaf:
    if not isinstance(node, Leaf):
        found = "a list" if isinstance(node, Items) else "a map"
        raise Mistake(f"expected one value, found {found}", place=node.place)
    if node.null:
        raise Mistake("a value is missing", place=node.place)
    return node


def one(parse: Callable[[str], T]) -> Parse[T]:
    """One value, from its text."""

    def parse_one(node: Node, reading: Reading) -> T:
        return parse(scalar(node).text)

    return parse_one


def many(parse: Parse[T]) -> Parse[tuple[T, ...]]:
    """A list, or a single item without the brackets. Never empty."""

    def parse_many(node: Node, reading: Reading) -> tuple[T, ...]:
        if not isinstance(node, Items):
            return (parse(node, reading),)
        if not node.items:
            raise Mistake("the list is empty", "leave the key out instead", node.place)
        return tuple(value for item in node.items for value in attempt(parse, item, reading))

    return parse_many


def attempt(parse: Parse[T], node: Node, reading: Reading) -> Iterator[T]:
    """The value, or nothing and a mistake on record."""
    try:
        yield parse(node, reading)
    except Mistake as mistake:
        mistake.place = mistake.place or node.place
        reading.mistakes.append(mistake)


def reference(of: str, parse: Callable[[str], str]) -> Parse[str]:
    """A name that must exist elsewhere; that is checked when all of it is known."""

    def parse_reference(node: Node, reading: Reading) -> str:
        name = parse(scalar(node).text)
        reading.uses.append(Use(of, name, node.place))
        return name

    return parse_reference


ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("provider", "providers", "on"), ("at",)),
    **dict.fromkeys(("url", "base_url", "api_base", "endpoint", "uri"), ("address",)),
    **dict.fromkeys(("host", "port", "bind", "address"), ("listen", "address")),
    **dict.fromkeys(("token", "key", "secret", "credentials", "auth"), ("api_key",)),
    **dict.fromkeys(("type", "vendor", "driver"), ("kind",)),
    **dict.fromkeys(("name", "id", "model", "upstream_model"), ("as", "models")),
    **dict.fromkeys(("context_window", "context_length"), ("context",)),
    **dict.fromkeys(("max_tokens", "max_output_tokens"), ("max_output",)),
    **dict.fromkeys(("cost", "pricing", "prices"), ("price",)),
    **dict.fromkeys(("timeout", "max_latency"), ("deadline", "timeouts")),
    **dict.fromkeys(("retries", "max_retries", "tries"), ("attempts",)),
    **dict.fromkeys(("fallback", "fallbacks", "targets", "candidates"), ("models",)),
    **dict.fromkeys(("strategy", "priority", "policy", "prefer"), ("weights",)),
    **dict.fromkeys(("database", "db", "data_dir", "storage"), ("data",)),
    **dict.fromkeys(("retention", "ttl"), ("keep",)),
}
"""Words that are no misspelling of ours, but what the same thing is called in other places."""


def elsewhere(word: str, table: Table) -> str:
    """A hint for who writes the word of another program."""
    ours = next((name for name in ELSEWHERE.get(word, ()) if name in table), "")
    return f"it is called `{ours}` here" if ours else ""


def known_fields(node: Node, table: Table, reading: Reading) -> dict[str, object]:
    """The values of a map by field name. A map that says nothing is an empty one."""
    if isinstance(node, Leaf) and node.null:
        return {}
    if not isinstance(node, Fields):
        found = "a list" if isinstance(node, Items) else "one value"
        raise Mistake(f"expected a map, found {found}", place=node.place)
    values: dict[str, object] = {}
    for name, value in node.fields:
        key = table.get(name.text)
        if key is None:
            hint = elsewhere(name.text, table) or did_you_mean(name.text, table)
            hint = hint or f"known here: {', '.join(table)}"
            reading.mistakes.append(Mistake(f"unknown key {quoted(name.text)}", hint, name.place))
            if TELLING_NAME.search(name.text):
                reading.hide(value)
            continue
        for parsed in attempt(key.parse, value, reading):
            values[key.field or name.text] = parsed
    return values


def struct(table: Table, kind: type[T]) -> Parse[T]:
    """A map of known keys, as a Struct whose fields have the same names."""

    def parse_struct(node: Node, reading: Reading) -> T:
        return msgspec.convert(known_fields(node, table, reading), kind)

    return parse_struct


def named(
    valid: Callable[[str], str], parse: Callable[[Leaf, Node, Reading], T]
) -> Parse[tuple[T, ...]]:
    """A map whose keys are names that people choose."""

    def parse_named(node: Node, reading: Reading) -> tuple[T, ...]:
        if isinstance(node, Leaf) and node.null:
            return ()
        if not isinstance(node, Fields):
            found = "a list" if isinstance(node, Items) else "one value"
            hint = "write `name:` instead of `- name`" if isinstance(node, Items) else ""
            raise Mistake(f"expected a map of names, found {found}", hint, node.place)
        return tuple(value for entry in node.fields for value in parse_entry(*entry, reading))

    def parse_entry(name: Leaf, node: Node, reading: Reading) -> Iterator[T]:
        # A wrong name does not excuse its value: that may be wrong too, or hold a credential.
        list(attempt(one(valid), name, reading))
        return attempt(lambda below, reading: parse(name, below, reading), node, reading)

    return parse_named
