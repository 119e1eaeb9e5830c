"""Turns a request away before it is parsed: ten times cheaper than to parse it and then say no.

Only what is plainly one request is answered here, by a rule that is narrower than HTTP. All else
goes the usual way, where it is refused before its body is read. Nothing of what is answered
here is passed on or looked at again, so how others would read it does not matter.
"""

from collections.abc import Mapping
from time import time

from fairlead.server.ids import new_id
from fairlead.server.paths import DIALECT_OF_PATH
from fairlead.server.respond import failure, on_the_wire
from fairlead.types.errors import Overloaded

RETRY_AFTER_S = 1.0
ID = new_id(0.0).encode()
"""Stands where each answer has its own."""
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
VISIBLE = b"\t" + bytes(range(32, 127)) + bytes(range(128, 256))
"""All that may be in a line; what is left are the ends of lines."""
LONGEST = 10
"""Digits; Python reads no number of thousands."""


def overloaded() -> Overloaded:
    return Overloaded("more requests than this gateway can serve", retry_after_s=RETRY_AFTER_S)


def _answer(path: str) -> bytes:
    return on_the_wire(failure(DIALECT_OF_PATH[path], overloaded(), ID.decode()), "keep-alive")


ANSWERS: Mapping[bytes, bytes] = {
    f"POST {path}".encode(): _answer(path) for path in DIALECT_OF_PATH
}


def answer_unparsed(data: bytes, max_body_bytes: int) -> tuple[bytes, int] | None:
    """The refusal, where ``data`` is a request for a model, or its beginning, and how much of it
    is still to come. None: it has to be parsed."""
    answer = ANSWERS.get(data[: data.find(b" ", 5)].partition(b"?")[0])
    end = data.find(HEAD_END)
    if answer is None or end < 0:
        return None
    head = data[:end].lower()
    at = head.find(LENGTH)
    length = head[at + len(LENGTH) :].partition(b"\r\n")[0].strip(b" \t")
    if (
        at < 0
        or not (length.isdigit() and len(length) < LONGEST)
        # A message is framed by these two, however they are disguised.
        or head.count(b"content-length") != 1
        or b"chunked" in head
        # Who wants to be told to go on waits for it, and who wants us to close waits for that.
        or b"100-continue" in head
        or b"\r\nconnection: close" in head
        or head.translate(None, VISIBLE).replace(b"\r\n", b"")
    ):
        return None
    rest = end + len(HEAD_END) + int(length) - len(data)
    if rest < 0 or int(length) > max_body_bytes:
        return None
    return answer.replace(ID, new_id(time()).encode()), rest
