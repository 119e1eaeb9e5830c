"""Credentials that were written into a file are not shown."""

import pytest

from fairlead.outside.config.mask import looks_like_a_key, masked_lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("api_key: abc, x: 1", "api_key: ***, x: 1"),
        ("apikey: 'a b'", "apikey: ** **"),
        ("work_password: abc", "work_password: ***"),
        ("api_key: {env: ABC}", "api_key: {env: ABC}"),
        ("api_key: [{file: /run/x}]", "api_key: [{file: /run/x}]"),
        ("api_key:", "api_key:"),
        ("at: sk-proj-12345678", "at: ****************"),
        ("at: desk-12345678", "at: desk-12345678"),
        ("x: 0123456789abcdef0123456789abcdef", f"x: {'*' * 32}"),
        ("x: 01234567890123456789012345678901", "x: 01234567890123456789012345678901"),
        ("as: qwen3-235b-a22b-thinking-2507-fp8-dynamic", None),
        ("file: /run/secrets/openai-production-2026-credentials", None),
        ("address: https://me:abc@example.com/v1", "address: https://******@example.com/v1"),
    ],
)
def test_a_line(line: str, expected: str | None) -> None:
    assert masked_lines(line) == (line if expected is None else expected,)


def test_spans_cross_lines_and_carets_stay_right() -> None:
    text = "a: |\n  one\n  two\nb: 1"

    assert masked_lines(text, [(3, 16)]) == ("a: *", "  ***", "  ***", "b: 1")


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "api_key" * 30_000, "1" * 200_000, "://a" * 50_000, "sk-" * 60_000],
    ids=["letters", "names", "digits", "addresses", "prefixes"],
)
def test_no_text_takes_long(text: str) -> None:
    assert len(masked_lines(text)[0]) == len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gsk_abcdefgh1234", True),
        ("AIzaSyAbcdefgh", True),
        ("sk-ant-api03-abcdefgh", True),
        ("OPENAI_API_KEY", False),
        ("/run/secrets/sk-12345678", False),
        ("gpt-5-mini", False),
    ],
)
def test_what_looks_like_a_key(text: str, expected: bool) -> None:
    assert looks_like_a_key(text) == expected
