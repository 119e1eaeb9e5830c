"""The short form of the proof: what holds however busy the machine is."""

from prove.proofs.overload import prove


def test_too_much_is_turned_away_with_a_time_and_nothing_else_suffers() -> None:
    found = prove(short=True)

    assert found["ok"], found
    for kind in ("", "places_"):
        assert found[f"{kind}shed"] != 0
        assert found[f"{kind}shed_without_retry_after"] == 0
        assert found[f"{kind}failed"] == 0
        assert found[f"{kind}events_wrong"] == 0
