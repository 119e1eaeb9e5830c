"""Callers' words, made fit for a disk and a terminal. Knows no fact."""

# C1 controls (U+009B begins an ANSI sequence as ESC [ does) and Unicode's line separators.
UNPRINTABLE = dict.fromkeys([*range(0x80, 0xA0), 0x2028, 0x2029], "\N{REPLACEMENT CHARACTER}")


def storable(text: str) -> str:
    """Lone surrogates, which stand for bytes that are no text, become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def printable(json: bytes) -> bytes:
    """An encoded line of JSON that no terminal can mistake for commands: C0 controls are escaped
    in it already."""
    if json.isascii():
        return json
    return json.decode("utf-8", "replace").translate(UNPRINTABLE).encode()
