"""The short form of the proof: each restart may cut, refuse or forget something."""

from prove.proofs.restart import prove


def test_restarts_and_reloads_under_load_harm_nobody() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["restarts"], found["reloads"]) == (2, 10)
    assert (found["cut"], found["lost"], found["failed_requests"]) == (0, 0, 0)
