"""YAML to nodes that know their place."""

from itertools import pairwise

import pytest

from fairlead.outside.config.problems import Mistake, Place
from fairlead.outside.config.read import MAX_CHARS, Fields, Items, Leaf, Node, read


def plain(node: Node) -> object:
    """A node without its places."""
    if isinstance(node, Leaf):
        return None if node.null else node.text
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.fields}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("# only a comment\n", None, id="a comment"),
        pytest.param("a:\nb: ~\nc: null\nd: ''", dict(a=None, b=None, c=None, d=""), id="null"),
        pytest.param("a: no", {"a": "no"}, id="no is not false"),
        pytest.param("a: 1.10", {"a": "1.10"}, id="a version is not a number"),
        pytest.param("a: 4:30", {"a": "4:30"}, id="sixty is not a base"),
        pytest.param("a: &x [1, b]\nc: *x", {"a": ["1", "b"], "c": ["1", "b"]}, id="anchors"),
    ],
)
def test_scalars_stay_as_they_are_written(text: str, expected: object) -> None:
    document = read(text)

    assert (plain(document.root), document.mistakes) == (expected, ())


def test_every_node_knows_its_place() -> None:
    node = read("providers:\n  house: {zone: local}\n").root

    assert isinstance(node, Fields)
    key, providers = node.fields[0]
    assert isinstance(providers, Fields)
    house, _ = providers.fields[0]
    assert (key.place, house.place) == (Place(1, 1, 9), Place(2, 3, 5))


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        pytest.param("a: {b: 1", "not valid YAML", Place(1, 9), id="unclosed"),
        pytest.param("a: 1\n  b: 2", "not valid YAML", Place(2, 4), id="indentation"),
        pytest.param("a: 1\n---\nb: 2", "not valid YAML", Place(2, 1), id="two documents"),
        pytest.param("a: *b", "not valid YAML", Place(1, 4), id="no such anchor"),
        pytest.param("a: b\x00c", "the character \\x00 may", Place(1, 5), id="control character"),
        pytest.param('a: "\\Uffffffff"', "an escape sequence", None, id="beyond Unicode"),
        pytest.param("[" * 1_500, "nested too deeply", Place(1, 22), id="deep"),
        pytest.param("&a [*a]", "nested too deeply", Place(1, 1, 7), id="endless"),
        pytest.param("#" * (MAX_CHARS + 1), "the file is larger than 256 KiB", None, id="large"),
    ],
)
def test_refuses_the_whole_text(text: str, message: str, place: Place | None) -> None:
    with pytest.raises(Mistake) as caught:
        read(text)

    assert caught.value.message.startswith(message)
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("providers:\n\topenai:\n", "indent with spaces, not with tabs"),
        ("providers:\n  a: b\n house: {}\n", "is it indented as its neighbours are?"),
        ("a: b: c", "text that holds `: ` must be quoted"),
        ("a: {b: 1", "is a bracket left open?"),
        ("[providers]\nopenai = 1", "a configuration is YAML: `key: value`"),
        ("a: *b", ""),
    ],
    ids=str,
)
def test_what_is_usually_meant(text: str, hint: str) -> None:
    with pytest.raises(Mistake) as caught:
        read(text)

    assert caught.value.hint == hint


def test_aliases_cannot_multiply_without_end() -> None:
    """A billion laughs: eight levels of nine aliases each, 300 characters."""
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")]

    with pytest.raises(Mistake, match="more than 20000 values"):
        read("\n".join(levels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "`a` is given twice"),
        ("? [a]\n: 1", "a key must be plain text"),
        ("a: !env KEY", "tags are not used here: `!env`"),
        ("a: !!python/object/apply:os.system [ls]", "tags are not used here"),
    ],
    ids=["twice", "list as key", "tag", "python object"],
)
def test_what_is_wrong_in_places_does_not_end_the_reading(text: str, message: str) -> None:
    document = read(text)

    assert [str(mistake)[: len(message)] for mistake in document.mistakes] == [message]
