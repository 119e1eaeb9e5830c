"""The short form of the proof: the first choice is down, then flaps, and nobody notices."""

from prove.proofs.outage import prove


def test_an_outage_of_the_first_choice() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["failed"], found["served_elsewhere"]) == (0, found["requests"])
    flapping = found["flapping"]
    assert isinstance(flapping, dict)
    assert flapping["failed"] == 0 < flapping["failed_attempts"]
