"""Every reader of bytes: its seeds, and its seeds damaged. ``make fuzz`` goes on for longer."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import targets

KNOWN = sorted(module.name for module in iter_modules(targets.__path__))

TOKENS = [
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\x00", b"\xff", b"\xe2\x82", b"\xef\xbb\xbf"),
    *(b"data: ", b"event: ", b"[DONE]", b"null", b"true", b"[]", b"{}", b'""', b"[", b"}", b'"'),
    *(b"-1", b"0", b"1e309", b"-0.0", b"NaN", b"9223372036854775808", b"1" * 5000, b"[" * 2000),
    *(
        b'"\\ud800"',
        b"\\u0000",
        b": ",
        b"- ",
        b"&a ",
        b"*a",
        b"!!python/object ",
        b"%",
        b"\x1b[31m",
    ),
    *(b'"error":{"message":"x"}', b'"type":"error"', b'"choices":[]', b'"usage":{}', b'"index":-1'),
]


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = draw(st.sampled_from(seeds))
    edits = st.tuples(
        st.integers(0, 1 << 16), st.integers(0, 30), st.sampled_from(TOKENS) | st.binary(max_size=8)
    )
    for at, cut, put in draw(st.lists(edits, max_size=4)):
        place = at % (len(data) + 1)
        data = data[:place] + put + data[place + cut :]
    return data


@pytest.mark.parametrize("what", KNOWN)
def test_the_seeds(what: str) -> None:
    target = import_module(f"fuzz.targets.{what}")

    assert len(target.SEEDS) >= 3
    for seed in target.SEEDS:
        target.check(seed)


@pytest.mark.parametrize("what", KNOWN)
def test_damaged_seeds(what: str) -> None:
    target: ModuleType = import_module(f"fuzz.targets.{what}")

    @settings(max_examples=settings().max_examples * 2)
    @given(damaged(target.SEEDS) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        target.check(data)

    check()
