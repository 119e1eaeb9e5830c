"""How an answer in one piece looks on the wire, whichever version of HTTP its caller speaks."""

import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from fairlead.server.respond import AtOnce
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted

ASK = json.dumps({"model": "a", "messages": [{"role": "user", "content": "Hello."}]}).encode()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Scripted() as up:
        up.on("a", canned.OPENAI["text"])
        async with serving(tmp_path, up, at(up, "a")) as running:
            yield running


@pytest.mark.parametrize(
    ("version", "asked", "status", "said"),
    [
        (b"1.1", "close", b"HTTP/1.1 200 OK", b"close"),
        (b"1.0", "close", b"HTTP/1.0 200 OK", None),
        (b"1.0", "keep-alive", b"HTTP/1.0 200 OK", b"keep-alive"),
        (b"1.1", "keep-alive", b"HTTP/1.1 200 OK", None),
    ],
)
async def test_an_answer_on_the_wire(
    served: Served, version: bytes, asked: str, status: bytes, said: bytes | None
) -> None:
    """RFC 9112 section 9.3: who stays connected, as a second answer tells, and who is told."""
    first = served.head(ASK, connection=asked).replace(b"HTTP/1.1", b"HTTP/" + version) + ASK
    last = served.head(ASK) + ASK if asked == "keep-alive" else b""

    answers = await served.raw(first + last)
    head, _, rest = answers.partition(b"\r\n\r\n")
    begin, *lines = head.split(b"\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}

    assert begin == status
    assert fields.get(b"connection") == said
    assert len(fields) == len(lines)
    assert parsedate_to_datetime(fields[b"date"].decode()).tzinfo is not None
    body = rest[: int(fields[b"content-length"])]
    assert json.loads(body)["choices"][0]["message"]["content"]
    assert rest[len(body) :].startswith(b"HTTP/1.1 200 ") == bool(last)


async def test_no_header_can_begin_another(served: Served) -> None:
    with pytest.raises(ValueError, match="line break"):
        AtOnce(b"", {"x-a": "b\r\nset-cookie: c"}).head(keep_alive=True)
