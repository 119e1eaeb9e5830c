"""The short form: a few trials of each time-out."""

from prove.proofs.timers import prove


def test_no_time_out_is_forgotten_and_none_comes_early() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["trials"], found["early"]) == (30, 0)
