"""Keeps credentials that were written into a file out of everything that is shown of it."""

import re
from collections.abc import Iterable

# YAML's own line breaks, which are fewer than those of str.splitlines (YAML 1.1, 4.1.4).
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")

VENDOR_KEY = re.compile(
    r"\b(?:(?:sk|pk|rk|gsk|csk|xai|nvapi|fw|hf|r8|tgp|pplx|ghp)[-_]|AIza)[\w-]{8,}"
)
"""How vendors' keys begin."""

LONG_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{32,}")
"""Long, unbroken, of letters and digits: no model, host or folder is named like that."""

AFTER_NAME = re.compile(
    r"""(?ix) (?<! [\w-] ) [\w-]{0,30} (?: api_?-?key | secret | passw(?:or)?d | credential )
        [\w-]{0,30} ["']? [ \t]* : [ \t]* (?! [\[{|>] ) ( [^\s,}\]] [^,}\]\r\n]* )"""
)
"""What follows a telling name on its line, unless that opens a map, a list or a block."""

TELLING_NAME = re.compile(r"(?i)key|secret|passw|credential|token|auth|bearer")
"""A name that people give to what holds a credential."""

IN_ADDRESS = re.compile(r"://([^/\s@]+)@")
"""A name and password in an address (RFC 3986, 3.2.1)."""


def looks_like_a_key(text: str) -> bool:
    return bool(VENDOR_KEY.match(text) or LONG_TOKEN.fullmatch(text))


def masked_lines(text: str, secret: Iterable[tuple[int, int]] = ()) -> tuple[str, ...]:
    """The lines of ``text``, stars in place of the spans in ``secret`` and of everything that
    looks like a credential. Lengths stay, so that carets still point at the right column."""
    spans = [
        *secret,
        *(found.span() for pattern in (VENDOR_KEY, LONG_TOKEN) for found in pattern.finditer(text)),
        *(found.span(1) for found in AFTER_NAME.finditer(text)),
        *(found.span(1) for found in IN_ADDRESS.finditer(text)),
    ]
    chars = list(text)
    for start, end in spans:
        chars[start:end] = [char if char.isspace() else "*" for char in chars[start:end]]
    return tuple(LINE_BREAK.split("".join(chars)))
