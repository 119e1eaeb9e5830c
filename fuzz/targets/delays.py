"""When an endpoint wants to be asked again: its headers of any kind, and a text that says so, come
to no delay or to one between nothing and an hour.

A line each: a letter for the header, then its value; a line behind any other letter is the text.
"""

from fairlead.dialects.failures import MAX_RETRY_AFTER_S, retry_after_s
from fairlead.dialects.headroom import ANTHROPIC, MOST_S, OPENAI, dry_for_s
from fuzz.inputs import made

NAMES = ["date", "retry-after", "retry-after-ms", "x-ms-retry-after-ms"]
NAMES += [name for pair in (*OPENAI, *ANTHROPIC) for name in pair]
HEADERS = dict(zip("abcdefghijklmnop", NAMES, strict=True))
SEEDS = made("delays")
MAX_BYTES = 256


def check(data: bytes) -> None:
    headers, text = {}, ""
    for line in data.decode(errors="surrogateescape").split("\n"):
        name = HEADERS.get(line[:1])
        if name is None:
            text = line
        else:
            headers[name] = line[1:]
    dry_s = dry_for_s(headers)
    assert dry_s is None or 0 < dry_s <= MOST_S, "out of all bounds"
    for of in (headers, {name: headers[name] for name in headers if "retry" not in name}):
        delay_s = retry_after_s(of, text)
        assert delay_s is None or 0 <= delay_s <= MAX_RETRY_AFTER_S, "out of all bounds"
