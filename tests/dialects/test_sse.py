"""The splitter of server-sent events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.dialects.sse import Frame, Frames
from fairlead.types.errors import Failure, UpstreamError


def split(data: bytes, *cuts: int) -> list[Frame]:
    """Feed ``data``, cut at these places, and close."""
    frames = Frames()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    found = [frame for start, end in pairwise(edges) for frame in frames.feed(data[start:end])]
    return found + frames.close()


def frame(raw: bytes, data: bytes, event: bytes = b"") -> Frame:
    return Frame(event, data, raw)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\n", [frame(b"data: a\n\n", b"a")], id="LF"),
        pytest.param(b"data: a\r\n\r\n", [frame(b"data: a\r\n\r\n", b"a")], id="CRLF"),
        pytest.param(b"data: a\r\r", [frame(b"data: a\r\r", b"a")], id="CR"),
        pytest.param(b"data: a\r\n\n", [frame(b"data: a\r\n\n", b"a")], id="mixed"),
        pytest.param(b"data:a\n\n", [frame(b"data:a\n\n", b"a")], id="no space"),
        pytest.param(b"data:  a\n\n", [frame(b"data:  a\n\n", b" a")], id="one space goes"),
        pytest.param(
            b"data: a\ndata: b\n\n", [frame(b"data: a\ndata: b\n\n", b"a\nb")], id="two lines"
        ),
        pytest.param(
            b"event: x\ndata: a\n\n", [frame(b"event: x\ndata: a\n\n", b"a", b"x")], id="event"
        ),
        pytest.param(
            b"data: a\nevent: x\n\n", [frame(b"data: a\nevent: x\n\n", b"a", b"x")], id="event last"
        ),
        pytest.param(
            b"event: x\nid: 1\n\n", [frame(b"event: x\nid: 1\n\n", b"", b"x")], id="no data"
        ),
        pytest.param(b": ping\n\n", [frame(b": ping\n\n", b"")], id="comment"),
        pytest.param(
            b": a\ndata: b\n: c\n\n", [frame(b": a\ndata: b\n: c\n\n", b"b")], id="comments inside"
        ),
        pytest.param(
            b"\xef\xbb\xbfdata: a\n\n", [frame(b"\xef\xbb\xbfdata: a\n\n", b"a")], id="BOM"
        ),
        pytest.param(b"data\n\n", [frame(b"data\n\n", b"")], id="field without colon"),
        pytest.param(b"retry: 3\n\n", [frame(b"retry: 3\n\n", b"")], id="unknown field"),
        pytest.param(
            b"data: a\n\n\ndata: b\n\n",
            [frame(b"data: a\n\n", b"a"), frame(b"\ndata: b\n\n", b"b")],
            id="a blank line too many",
        ),
        pytest.param(b"data: a\n\ndata: b", [frame(b"data: a\n\n", b"a")], id="unfinished"),
        pytest.param(b"data: a\n", [], id="cut before the blank line"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(
            "data: ü€😀\n\n".encode(),
            [frame("data: ü€😀\n\n".encode(), "ü€😀".encode())],
            id="UTF-8",
        ),
    ],
)
def test_frames(stream: bytes, expected: list[Frame]) -> None:
    assert split(stream) == expected
    assert split(stream, *range(len(stream))) == expected


lines = st.sampled_from(
    [b"data: a", b"data:b", b"data: " + "é😀".encode(), b"event: x", b": c", b"id: 1", b"", b"d"]
)
streams = st.lists(
    st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])), max_size=12
).map(lambda pairs: b"".join(line + end for line, end in pairs))


@given(stream=streams, cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=12))
def test_however_it_is_cut_the_frames_are_the_same(stream: bytes, cuts: list[int]) -> None:
    assert split(stream, *cuts) == split(stream)


@given(stream=streams)
def test_every_byte_belongs_to_a_frame_or_is_left(stream: bytes) -> None:
    frames = Frames()
    found = frames.feed(stream) + frames.close()

    assert b"".join(frame.raw for frame in found) + frames.rest == stream


def test_a_frame_is_given_as_soon_as_it_is_whole() -> None:
    frames = Frames()

    assert frames.feed(b"data: a\n") == []
    assert frames.feed(b"\ndata: b") == [frame(b"data: a\n\n", b"a")]
    assert frames.feed(b"\n\n") == [frame(b"data: b\n\n", b"b")]


@pytest.mark.parametrize(
    ("stream", "pending"),
    [
        (b"data: a\n\n", False),
        (b"data: a\n\n\n", False),
        (b"data: a\n\ndata: b", True),
        (b'{"error": "not a stream"}', True),
    ],
)
def test_pending_tells_of_an_unfinished_frame(stream: bytes, pending: bool) -> None:
    frames = Frames()
    frames.feed(stream)
    frames.close()

    assert frames.pending is pending


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_frame_at_the_cap_passes_and_a_larger_one_breaks_the_stream(step: int) -> None:
    largest = b"data: " + b"x" * 92 + b"\n\n"
    too_large = b"data: " + b"x" * 93 + b"\n\n"

    def read(stream: bytes) -> int:
        frames = Frames(max_frame_bytes=100)
        return sum(len(frames.feed(stream[at : at + step])) for at in range(0, len(stream), step))

    assert read(largest * 3) == 3
    with pytest.raises(UpstreamError) as caught:
        read(largest + too_large)
    assert caught.value.failure is Failure.STREAM_BROKEN
