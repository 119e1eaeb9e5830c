"""The short form of the soak: some seconds of it."""

from prove.proofs.soak import prove


def test_nothing_is_held_on_to_and_the_ledger_is_exact() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["drift_nano_usd"], found["unexplained"], found["left"]) == (0, 0, 0)
