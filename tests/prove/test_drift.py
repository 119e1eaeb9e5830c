"""The short form of the proof: some hundred requests, a third of them left by their callers."""

from prove.proofs.drift import prove


def test_the_ledger_is_what_the_upstreams_prices_come_to() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["drift_nano_usd"], found["unexplained"], found["reserved_left"]) == (0, 0, 0)
    assert found["leaked_fds"] == 0
