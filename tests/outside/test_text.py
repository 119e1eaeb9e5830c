"""What goes to a disk can be encoded, and what goes to a terminal cannot command it."""

import msgspec
import pytest

from fairlead.outside.text import printable, storable


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain", "plain"), ("Zürich 🚀", "Zürich 🚀"), ("a\udcffb", "a?b"), ("\ud83d", "?")],
)
def test_what_is_no_text_becomes_question_marks(text: str, stored: str) -> None:
    assert storable(text) == stored


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Zürich 🚀", "Zürich 🚀"),
        ("\x1b[31m", "\x1b[31m"),  # escaped by JSON
        ("\x9b31m", "\ufffd31m"),
        ("\x80\x9f", "\ufffd\ufffd"),
        ("\x7fü", "\x7fü"),  # no terminal does anything for it
        ("a\u2028b\u2029c", "a\ufffdb\ufffdc"),
    ],
)
def test_a_line_of_json_stays_one_and_harmless(text: str, printed: str) -> None:
    line = printable(msgspec.json.encode({"said": text}))

    assert not {*range(0x20), *range(0x80, 0xA0), 0x2028, 0x2029} & {*map(ord, line.decode())}
    assert msgspec.json.decode(line) == {"said": printed}


def test_bytes_that_are_no_text_do_not_end_it() -> None:
    assert printable(b'{"said":"\xff"}').decode() == '{"said":"\ufffd"}'
