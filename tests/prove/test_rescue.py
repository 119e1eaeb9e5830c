"""The short form of the proof: some eighty streams, each cut at a random byte."""

from prove.proofs.rescue import prove


def test_a_text_that_is_cut_is_gone_on_with_to_its_exact_end() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert (found["exact_share"], found["duplicated_chars"], found["missing_chars"]) == (1.0, 0, 0)
    assert found["clean_errors"] == found["must_end_in_error"]
