"""Embeddings of like texts lie close together."""

import math

from fairlead.outside.simulated.embedding import DIMENSIONS, embed


def likeness(left: str, right: str) -> float:
    return sum(a * b for a, b in zip(embed(left), embed(right), strict=True))


def test_vectors_have_length_one() -> None:
    for text in ("", "one", "one two two", "Ünïcode wörds"):
        assert math.isclose(math.hypot(*embed(text)), 1.0)


def test_shared_words_are_nearer_than_none() -> None:
    assert likeness("the pool is empty", "empty is the pool") > 0.99
    assert likeness("the pool is empty", "the pool is full") > likeness(
        "the pool is empty", "certificates expired today"
    )


def test_dimensions_can_be_chosen() -> None:
    assert len(embed("text")) == DIMENSIONS
    assert len(embed("text", 16)) == 16
