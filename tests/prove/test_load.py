"""The short form of the proof: what holds however busy the machine is."""

from prove.proofs.load import prove


def test_nothing_is_lost_and_nobody_is_turned_away() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["events_wrong"], found["shed"], found["failed"]) == (0, 0, 0)
