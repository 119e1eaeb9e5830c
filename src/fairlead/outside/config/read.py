"""YAML text to nodes that know their place. Knows no key, and never builds a Python object.

Scalars stay text: what ``no``, ``1.10`` or ``4:30`` means is for the key it stands under to say.
"""

from collections.abc import Iterator

import yaml
from msgspec import Struct

from fairlead.outside.config.mask import LINE_BREAK, masked_lines
from fairlead.outside.config.problems import Mistake, Place, printable, quoted

MAX_CHARS = 256 * 1024
MAX_NODES = 20_000
"""Counted with every alias followed, so that nested aliases cannot multiply without end."""
MAX_DEPTH = 20

NULL_TAG = "tag:yaml.org,2002:null"
# What a value without a tag gets (YAML 1.1 types, yaml.org/type).
PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in (
        *("str", "int", "float", "bool", "null", "timestamp", "merge", "value"),
        *("map", "seq"),
    )
)


class Leaf(Struct, frozen=True):
    text: str
    place: Place
    span: tuple[int, int]
    """Where it starts and ends, in characters of the whole text."""
    null: bool = False
    """Nothing was written, or ``null`` or ``~``."""


class Items(Struct, frozen=True):
    items: tuple["Node", ...]
    place: Place
    span: tuple[int, int]


class Fields(Struct, frozen=True):
    """A key given twice has been reported, and stands here twice."""

    fields: tuple[tuple[Leaf, "Node"], ...]
    place: Place
    span: tuple[int, int]


Node = Leaf | Items | Fields


class Document(Struct, frozen=True):
    root: Node
    """An empty leaf when there is nothing."""
    mistakes: tuple[Mistake, ...] = ()
    """What is wrong with keys and tags as such."""
    unread: tuple[tuple[int, int], ...] = ()
    """Spans that came to nothing, and that nobody can vouch for."""


def read(text: str) -> Document:
    """Raises Mistake when nothing can be made of the text."""
    if len(text) > MAX_CHARS:
        raise Mistake(f"the file is larger than {MAX_CHARS // 1024} KiB")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise syntax_mistake(error) from None
    except yaml.reader.ReaderError as error:
        raise unprintable(text, error.position) from None
    except Mistake:
        raise
    except RecursionError:
        raise Mistake("nested too deeply") from None
    except (ValueError, OverflowError):
        # PyYAML lets these through from escapes beyond Unicode and malformed directives.
        raise Mistake("an escape sequence or directive is not valid YAML") from None
    if root is None:
        return Document(Leaf("", Place(1), (0, 0), null=True))
    walk = _Walk()
    return Document(walk.node(root, 0), tuple(walk.mistakes), tuple(walk.unread))


class _Loader(yaml.SafeLoader):
    """Gives up on brackets that nest too deeply as they open: PyYAML looks at all that are open
    for every token, which takes seconds long before it runs out of stack."""

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > MAX_DEPTH:
            raise Mistake("nested too deeply", place=Place(self.line + 1, self.column + 1))
        super().fetch_flow_collection_start(token)


def syntax_mistake(error: yaml.MarkedYAMLError) -> Mistake:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else None
    what = " ".join(filter(None, (error.context, error.problem)))
    shown = " ".join(masked_lines(what))  # PyYAML repeats names of anchors and tags
    hint = next((hint for said, hint in USUAL_CAUSES if said in shown), "")
    return Mistake(f"not valid YAML: {printable(shown)}", hint, place)


USUAL_CAUSES = (
    ("\\t", "indent with spaces, not with tabs"),
    ("expected <block end>", "is it indented as its neighbours are?"),
    ("mapping values are not allowed", "text that holds `: ` must be quoted"),
    ("expected ',' or", "is a bracket left open?"),
    ("expected '<document start>'", "a configuration is YAML: `key: value`"),
)


def unprintable(text: str, position: int) -> Mistake:
    before = LINE_BREAK.split(text[:position])
    char = printable(text[position : position + 1])
    return Mistake(
        f"the character {char} may not stand in YAML", place=Place(len(before), len(before[-1]) + 1)
    )


class _Walk:
    """PyYAML's nodes to ours, counting."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.unread: list[tuple[int, int]] = []
        self._nodes = 0

    def node(self, node: yaml.Node, depth: int) -> Node:
        place = place_of(node)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Mistake(f"more than {MAX_NODES} values, aliases followed", place=place)
        if depth > MAX_DEPTH:
            raise Mistake("nested too deeply", place=place)
        if node.tag not in PLAIN_TAGS:
            self.mistakes.append(
                Mistake(f"tags are not used here: {quoted(node.tag)}", place=place)
            )
        span = (node.start_mark.index, node.end_mark.index)
        if isinstance(node, yaml.MappingNode):
            return Fields(tuple(self._fields(node, depth + 1)), place, span)
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.node(item, depth + 1) for item in node.value), place, span)
        return Leaf(str(node.value), place, span, null=node.tag == NULL_TAG)

    def _fields(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[Leaf, Node]]:
        first: dict[str, int] = {}
        for yaml_key, yaml_value in node.value:
            key, value = self.node(yaml_key, depth), self.node(yaml_value, depth)
            if not isinstance(key, Leaf) or not key.text:
                self.mistakes.append(Mistake("a key must be plain text", place=key.place))
                self.unread += [key.span, value.span]
                continue
            if key.text in first:
                hint = f"first given on line {first[key.text]}"
                self.mistakes.append(Mistake(f"{quoted(key.text)} is given twice", hint, key.place))
            first.setdefault(key.text, key.place.line)
            yield key, value


def place_of(node: yaml.Node) -> Place:
    """Where a node starts, with its length when it ends on the same line."""
    start, end = node.start_mark, node.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(1, length))
