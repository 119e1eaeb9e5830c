"""The short form of the proof: a round of each kind."""

from prove.proofs.budget import KINDS, prove


def test_a_budget_for_k_admits_k_of_a_crowd() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert found["rounds"] == len(KINDS)
    assert (found["admitted_wrong"], found["over_nano_usd"]) == (0, 0)
