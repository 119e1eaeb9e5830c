"""What a gateway says to who is hostile, request by request: each refusal has to say what it is,
which request it is of, and whether to come again.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from prove import torture
from prove.bills import Bill, frames, whole
from prove.torture import Asked
from servers.canned import EMBEDDINGS
from servers.gateway import create_key, gateway
from servers.scripted import Script, Seen, reply, scripted, stream
from servers.setup import Setup

SEED = 13
AT_ONCE = 16
PATIENCE_S = 30.0
HEAD_BYTES = 1 << 17
BILL = Bill(plain=9, text=2)
STREAMS = re.compile(rb'"stream"\s*:\s*true')


def upstream(seen: Seen) -> Script:
    """A proper answer to whatever arrives: what goes wrong is the gateway's own."""
    if seen.path.endswith("/embeddings"):
        return reply(EMBEDDINGS)
    if seen.path.endswith("/count_tokens"):
        return reply({"input_tokens": 9})
    dialect = "anthropic_messages" if seen.path.endswith("/messages") else "openai_chat"
    if _streams(seen.body):
        return stream(*frames(dialect, ("Yes.",), BILL))
    return whole(dialect, ("Yes.",), BILL)


def _streams(body: bytes) -> bool:
    try:
        return json.loads(body).get("stream") is True
    except ValueError:
        return bool(STREAMS.search(body))


@dataclass(frozen=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes
    ended: bool = True
    """Whether all of it came."""

    @property
    def lacks(self) -> list[str]:
        """Of what every refusal has, in whatever dialect."""
        told = self._told
        error = told.get("error")
        error = error if isinstance(error, dict) else {}
        request_id = self.fields.get("x-fairlead-request-id")
        again = self.fields.get("request-id") or self.fields.get("x-request-id")
        missing = {
            "type": not (error.get("type") and isinstance(error["type"], str)),
            "message": not (error.get("message") and isinstance(error["message"], str)),
            "request id": not request_id or again != request_id,
            "x-should-retry": self.fields.get("x-should-retry") not in ("true", "false"),
        }
        return [what for what, is_missing in missing.items() if is_missing]

    def is_in(self, anthropic: bool) -> bool:
        """Whether it has the shape of the dialect that was spoken."""
        told, request_id = self._told, self.fields.get("x-fairlead-request-id")
        if anthropic:
            return told.get("type") == "error" and told.get("request_id") == request_id
        return set(told) == {"error"} and {"message", "type", "param", "code"} <= set(told["error"])

    @property
    def _told(self) -> dict[str, Any]:
        try:
            told = json.loads(self.body)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


def answers(data: bytes) -> Iterator[Answer]:
    """Those in all that came before the connection was closed."""
    while data:
        top, found, data = data.partition(b"\r\n\r\n")
        if not found:
            return
        status, fields = _head(top)
        size = int(fields.get("content-length", 0))
        yield Answer(status, fields, data[:size], len(data) >= size)
        data = data[size:]


def _head(top: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = top.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


@dataclass
class Refused:
    """What became of requests that ask for trouble."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    """Closed without a whole answer, or nothing came."""
    hurried: int = 0
    """Out of a time that the request itself had set (504)."""
    let_in: int = 0
    """Served to who has no key."""
    injected: int = 0
    """With a header that the request made up."""
    incomplete: Counter[str] = field(default_factory=Counter)
    """Refusals without what each must have, by what is missing."""
    sound_refused: int = 0
    """Requests that all others are made from, asked before and after them."""
    which: dict[str, Asked] = field(default_factory=dict)
    """The first of each kind of trouble."""

    @property
    def ours(self) -> int:
        """The endpoint never fails: it is nobody else's."""
        every = sum(count for status, count in self.statuses.items() if status >= 500)
        return every - self.hurried

    def add(self, asked: Asked, answer: Answer | None) -> None:
        self.sent += 1
        if answer is None or not answer.ended:
            self.unanswered += 1
            self._note("unanswered", asked)
            return
        self.statuses[answer.status] += 1
        hurried = answer.status == 504 and asked.has(b"x-fairlead-deadline")
        self.hurried += hurried
        if answer.status >= 500 and not hurried:
            self._note(f"{answer.status}", asked)
        if "x-injected" in answer.fields:
            self.injected += 1
            self._note("injected", asked)
        if asked.kind == "sound":
            self.sound_refused += answer.status != 200
        if answer.status >= 400:
            lacks = answer.lacks or ([] if answer.is_in(asked.in_anthropic) else ["dialect"])
            for what in lacks:
                self.incomplete[what] += 1
                self._note(f"without {what}", asked)
        elif not asked.allowed:
            self.let_in += 1
            self._note("let in", asked)

    def _note(self, what: str, asked: Asked) -> None:
        self.which.setdefault(f"{what}: {asked.kind}", asked)


def tortured(folder: Path, share: float, damaged: int) -> Refused:
    """Ask a gateway that has keys: ``share`` of all that is known to be wrong, and so many requests
    that are damaged at random."""
    setup, dice = Setup(), Random(SEED)
    with scripted() as up:
        up.on("*", upstream)
        setup.endpoint("o", up.address, "openai_chat")
        setup.endpoint("a", up.address, "anthropic_messages")
        setup.endpoint("e", up.address, "openai_chat", capabilities=["embed"])
        setup.route("both", "o", "a")
        key = create_key(folder / "data", "hostile")
        with gateway(folder, setup.text(), setup.secrets) as running:
            port = int(running.address.rpartition(":")[2])
            others = (asked for asked in torture.others() if dice.random() < share)
            every = (
                *(torture.sound(), torture.wrong_values(dice, share), others),
                *(islice(torture.damage(dice), damaged), torture.sound()),
            )
            return uvloop.run(ask(port, key, chain.from_iterable(every)))


async def ask(port: int, key: str, every: Iterable[Asked]) -> Refused:
    """Ask all, some at once, each on a connection that is kept for as long as the gateway does."""
    found, waiting = Refused(), iter(every)

    async def one() -> None:
        kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for asked in waiting:
            reader, writer = kept or await asyncio.open_connection(
                "127.0.0.1", port, limit=HEAD_BYTES
            )
            kept = reader, writer
            answer = None
            try:
                async with asyncio.timeout(PATIENCE_S):
                    writer.write(asked.sent(key))
                    answer = await _answer(reader)
            except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
                pass
            found.add(asked, answer)
            if answer is None or "close" in answer.fields.get("connection", ""):
                writer.close()
                kept = None
        if kept:
            kept[1].close()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return found


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status = 100
    fields: dict[str, str] = {}
    while status < 200:
        status, fields = _head((await reader.readuntil(b"\r\n\r\n"))[:-4])
    if fields.get("transfer-encoding") == "chunked":
        body = bytearray()
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size + 2)
        await reader.readexactly(2)
        return Answer(status, fields, bytes(body))
    return Answer(status, fields, await reader.readexactly(int(fields["content-length"])))
