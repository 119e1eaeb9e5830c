"""The short form of the proof: what holds however busy the machine is."""

from prove.proofs.edge import prove


def test_who_is_slow_or_hostile_gets_nothing_and_harms_nobody() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert found["all_closed_in_time"]
    for name in ("smuggled", "accepted_wrongly", "answered_wrongly", "our_errors", "left_open"):
        assert found[name] == 0
    for name in ("incomplete", "unanswered", "let_in", "injected", "sound_refused"):
        assert found[name] == 0
