"""A share of the memory for answers: taken piece by piece, and given back once."""

import pytest

from fairlead.state.memory import Memory, Share
from fairlead.types.errors import Overloaded


def test_all_shares_together_have_a_limit() -> None:
    memory = Memory("full", 100)
    one, other = Share(memory), Share(memory)
    one.take(60)
    other.take(40)

    with pytest.raises(Overloaded) as caught:
        other.take(1)

    assert memory.taken_bytes == 60
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 1)


def test_what_one_gives_back_others_may_take() -> None:
    memory = Memory("full", 100)
    one, other = Share(memory), Share(memory)
    one.take(100)
    one.give_back()
    one.give_back()
    other.take(100)

    assert memory.taken_bytes == 100


def test_a_share_lasts_as_long_as_somebody_has_it() -> None:
    memory = Memory("full", 100)
    one = Share(memory)
    passed_on = one
    one.take(100)
    del one
    assert memory.taken_bytes == 100

    del passed_on
    assert memory.taken_bytes == 0
