"""Golden answers and streams of every dialect: the events in them, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects import anthropic_cases, openai_cases
from dialects.cases import Golden, fed
from fairlead.dialects import DIALECTS
from fairlead.types.chat import Event, Request

GOLDEN: dict[str, Golden] = {
    "anthropic_messages": anthropic_cases.GOLDEN,
    "openai_chat": openai_cases.GOLDEN,
}
ANSWERS = [(dialect, case) for dialect in GOLDEN for case in GOLDEN[dialect].cases("answer")]
STREAMS = [(dialect, case) for dialect in GOLDEN for case in GOLDEN[dialect].cases("stream")]
KINDS = ("request", "answer", "stream", "broken")


def decoded(dialect: str, case: str, stream: bool, cuts: list[int] | None = None) -> list[Event]:
    asked = Request(dialect, "m", b"{}", stream=stream, include_usage=True)
    decoder = DIALECTS[dialect].decoder(asked, False)
    return list(fed(decoder, GOLDEN[dialect].wire(case), cuts or ()))


@pytest.mark.parametrize("dialect", GOLDEN)
def test_every_folder_is_used(dialect: str) -> None:
    by_kind = [GOLDEN[dialect].cases(kind) for kind in KINDS]

    assert sorted(case for cases in by_kind for case in cases) == GOLDEN[dialect].cases()


@pytest.mark.parametrize(("dialect", "case"), ANSWERS)
def test_answers(dialect: str, case: str) -> None:
    assert decoded(dialect, case, stream=False) == GOLDEN[dialect].events(case)


@pytest.mark.parametrize(("dialect", "case"), STREAMS)
def test_streams_whole_and_byte_by_byte(dialect: str, case: str) -> None:
    everywhere = list(range(len(GOLDEN[dialect].wire(case))))

    assert decoded(dialect, case, stream=True) == GOLDEN[dialect].events(case)
    assert decoded(dialect, case, stream=True, cuts=everywhere) == GOLDEN[dialect].events(case)


@given(
    of=st.sampled_from(STREAMS),
    cuts=st.lists(st.integers(0, 5000), max_size=8),
)
def test_however_a_stream_is_cut_its_events_are_the_same(
    of: tuple[str, str], cuts: list[int]
) -> None:
    dialect, case = of
    assert decoded(dialect, case, stream=True, cuts=cuts) == GOLDEN[dialect].events(case)
