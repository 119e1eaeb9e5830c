"""The short form of the proof: a few deaths, each of which may lose something."""

from prove.proofs.kill9 import prove


def test_what_callers_saw_the_end_of_survives_a_kill() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert found["kills"] == 5
    assert (found["lost"], found["double"], found["wrong"], found["balance_differs"]) == (0,) * 4
