"""The short form: some cuts of each recording."""

from prove.proofs.splits import prove


def test_however_a_stream_is_cut_its_caller_gets_the_same() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert found["different"] == 0
