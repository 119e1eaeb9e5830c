"""How an upstream goes wrong: scripts for the scripted server, each for a vendor and a form.

A script that needs time opens its own gates by timer, on the upstream's loop, while it is played.
"""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any

from prove.vendors import Vendor, whole
from servers.scripted import (
    JSON,
    SSE,
    Answer,
    End,
    Gate,
    Script,
    Seen,
    Step,
    chunk,
    cut,
    head,
    reply,
    silent,
    split,
    stream,
)

Play = Callable[[Vendor, bool], Answer]
"""What an upstream does when it is asked: by vendor, and whether the answer is streamed."""

DRIP_S = 0.2
SEEN_S = 1.0
"""How long the caller may take to see it: a gateway that holds it back is not waited for."""


class Timed:
    """A script made anew each time that it is played, on the upstream's loop: it may ``after``."""

    def __init__(self, make: Callable[[], Iterator[Step]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Step]:
        return self._make()


def after(seconds: float) -> Gate:
    gate = Gate()
    asyncio.get_running_loop().call_later(seconds, gate.open)
    return gate


def dripping(*pieces: bytes, before: Script = (), then: Script = ()) -> Timed:
    """The last of ``pieces`` for ever, unless something comes ``then``."""

    def make() -> Iterator[Step]:
        yield from before
        for piece in pieces if then else chain(pieces, repeat(pieces[-1])):
            yield after(DRIP_S)
            yield piece
        yield from then

    return Timed(make)


def waiting(seconds: float, before: Script, then: Script) -> Timed:
    def make() -> Iterator[Step]:
        yield from before
        yield after(seconds)
        yield from then

    return Timed(make)


class Paced:
    """A script that lets the caller see its first content, before it goes on to what is wrong."""

    def __init__(self, script: Script, opening: int, seen: Gate) -> None:
        self._script = script
        self._opening = opening
        self._seen = seen

    def __iter__(self) -> Iterator[Step]:
        for number, step in enumerate(self._script):
            yield step
            if number == self._opening + 1:  # the head is a step too
                asyncio.get_running_loop().call_later(SEEN_S, self._seen.open)
                yield self._seen


# Refusals ----------------------------------------------------------------------------------------


def refusal(
    status: int,
    type: str,
    code: str | None = None,
    message: str = "It did not work out.",
    headers: Mapping[str, str] | None = None,
) -> Play:
    def play(vendor: Vendor, streamed: bool) -> Answer:
        return reply(vendor.error(message, type, code), status=status, headers=headers)

    return play


def wordless(status: int) -> Play:
    return lambda vendor, streamed: reply(status=status)


def by_vendor(openai: Play, anthropic: Play) -> Play:
    """For what the two say in words of their own."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        return (openai if vendor.dialect == "openai_chat" else anthropic)(vendor, streamed)

    return play


def echoing(status: int, type: str, how: str) -> Play:
    """An error that repeats what it was sent: ``{key}``, ``{ends}`` of the key, ``{prompt}``."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        def answer(seen: Seen) -> Script:
            key = seen.headers.get("x-api-key") or seen.headers["authorization"].split()[-1]
            ends = f"{key[:8]}********{key[-8:]}"
            asked = seen.json
            prompt = json.dumps(asked.get("messages") or asked["input"], ensure_ascii=False)
            message = how.format(key=key, ends=ends, prompt=prompt)
            return reply(vendor.error(message, type), status=status)

        return answer

    return play


def stalling_refusal(vendor: Vendor, streamed: bool) -> Answer:
    return (head(500, {"content-type": JSON, "content-length": "900"}), b'{"error": ', Gate())


def page(status: int) -> Play:
    def play(vendor: Vendor, streamed: bool) -> Answer:
        body = b"<!doctype html><html><body><h1>Sorry.</h1></body></html>"
        return reply(body, status=status, content_type="text/html")

    return play


# No answer, or no end of it ----------------------------------------------------------------------


def ended(end: End) -> Play:
    """The connection ends before an answer."""
    return lambda vendor, streamed: (end,)


def unanswered(vendor: Vendor, streamed: bool) -> Answer:
    return silent()


def slow_headers(vendor: Vendor, streamed: bool) -> Answer:
    return dripping(b"x-still-thinking: yes\r\n", before=(b"HTTP/1.1 200 OK\r\n",))


def endless_headers(vendor: Vendor, streamed: bool) -> Answer:
    return Timed(
        lambda: chain((b"HTTP/1.1 200 OK\r\n",), repeat(b"x-more: " + b"m" * 8000 + b"\r\n"))
    )


def endless_header_line(vendor: Vendor, streamed: bool) -> Answer:
    return Timed(lambda: chain((b"HTTP/1.1 200 OK\r\nx-long: ",), repeat(b"m" * 8000)))


def endless_hints(vendor: Vendor, streamed: bool) -> Answer:
    """Interim responses without end, and no real one (RFC 9110, 15.2)."""
    return Timed(lambda: repeat(head(103, {"link": "</a>; rel=preload"}) * 100))


def flooding(vendor: Vendor, streamed: bool) -> Answer:
    """As ``late``, but as fast as it can."""
    if streamed:
        opening = stream(*vendor.text.frames[: vendor.opening])[:-1]
        return Timed(lambda: chain(opening, repeat(chunk(vendor.pings[0] * 1000))))
    return Timed(lambda: chain((chunked_head(JSON),), repeat(chunk(b" " * (1 << 16)))))


def late(vendor: Vendor, streamed: bool) -> Answer:
    """Alive, and without content for ever."""
    if streamed:
        opening = stream(*vendor.text.frames[: vendor.opening])[:-1]
        return dripping(*(chunk(ping) for ping in vendor.pings), before=opening)
    return dripping(chunk(b" "), before=(chunked_head(JSON),))


def slow(seconds: float) -> Play:
    """Late by so much, and then well."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        if not streamed:
            return waiting(seconds, (chunked_head(JSON), chunk(b" ")), _rest(whole(vendor.text)))
        frames = vendor.text.frames
        begin = stream(*frames[: vendor.opening], *vendor.pings)
        return waiting(seconds, begin[:-1], stream(*frames[vendor.opening :])[1:])

    return play


def dripping_content(vendor: Vendor, streamed: bool) -> Answer:
    """Byte by byte, so slowly that nothing is ever complete."""
    data = vendor.text.frames[vendor.opening] if streamed else whole(vendor.text)
    kind = SSE if streamed else JSON
    return dripping(*(chunk(byte) for byte in split(data[:60])), before=(chunked_head(kind),))


def stalled(vendor: Vendor, streamed: bool) -> Answer:
    return (*_begun(vendor, streamed, 0.4), Gate())


def stalled_before_terminal(vendor: Vendor, streamed: bool) -> Answer:
    return (*stream(*vendor.text.frames[:-1])[:-1], Gate())


def stalled_alive(vendor: Vendor, streamed: bool) -> Answer:
    """Begins to speak, and then pings for ever."""
    begin = stream(*vendor.text.frames[: vendor.opening + 4])[:-1]
    return dripping(*(chunk(ping) for ping in vendor.pings), before=begin)


def chunked_head(kind: str) -> bytes:
    return head(200, {"content-type": kind, "transfer-encoding": "chunked"})


def _rest(data: bytes) -> tuple[Step, ...]:
    return (chunk(data), b"0\r\n\r\n")


# Answers that break off --------------------------------------------------------------------------


def _begun(vendor: Vendor, streamed: bool, share: float, shift: int = 0) -> tuple[Step, ...]:
    """The right answer, up to a ``share`` of its content, ``shift`` bytes further."""
    script = vendor.answer(streamed)
    if not streamed:
        return cut(script, len(bytes_of(script[:1])) + int(share * len(bytes_of(script[1:]))))[:-1]
    first, last = 1 + vendor.opening, len(script) - 1 - vendor.closing
    begin, end = len(bytes_of(script[:first])), len(bytes_of(script[:last]))
    return cut(script, begin + int(share * (end - begin)) + shift)[:-1]


def bytes_of(script: Script) -> bytes:
    return b"".join(step for step in script if isinstance(step, bytes))


def broken_at(share: float, end: End = End.CLOSE) -> Play:
    """The connection breaks at a share of the content."""
    return lambda vendor, streamed: (*_begun(vendor, streamed, share), end)


def broken_after(share: float) -> Play:
    """The connection closes at a share of all bytes, those of the head too."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        script = vendor.answer(streamed)
        return cut(script, int(share * len(bytes_of(script))))

    return play


def broken_in_character(vendor: Vendor, streamed: bool) -> Answer:
    data = bytes_of(vendor.answer(streamed))
    return cut(vendor.answer(streamed), data.index("京".encode()) + 2)


def broken_before_content(vendor: Vendor, streamed: bool) -> Answer:
    script = vendor.answer(streamed)
    return (*script[: 1 + vendor.opening], End.CLOSE) if streamed else (script[0], End.CLOSE)


def broken_before_terminal(vendor: Vendor, streamed: bool) -> Answer:
    """All is said, the finish reason too; only the terminal is missing, and the connection."""
    return (*vendor.answer(streamed)[:-2], End.CLOSE)


def broken_after_reason(vendor: Vendor, streamed: bool) -> Answer:
    """What it used is missing too, where that has a frame of its own."""
    frames = vendor.text.frames
    last = 1 - vendor.closing if vendor.dialect == "openai_chat" else -1
    return (*stream(*frames[:last])[:-1], End.CLOSE)


def tools_without_terminal(vendor: Vendor, streamed: bool) -> Answer:
    return (*stream(*vendor.tools.frames[:-1])[:-1], End.CLOSE)


def ended_early(vendor: Vendor, streamed: bool) -> Answer:
    """As if it were over, in the middle of the text: the transfer itself is complete."""
    if streamed:
        return stream(*vendor.text.frames[: vendor.opening + 9])
    body = whole(vendor.text)
    return (head(200, {"content-type": JSON, "connection": "close"}), body[:-40], End.CLOSE)


def ended_without_terminal(vendor: Vendor, streamed: bool) -> Answer:
    return stream(*vendor.text.frames[:-1])


def ended_without_reason(vendor: Vendor, streamed: bool) -> Answer:
    """A terminal, and no word of why: proxies append one to whatever they got."""
    if streamed:
        frames = vendor.text.frames
        return stream(*frames[: len(frames) - vendor.closing], frames[-1])
    return reply(_without_reason(vendor.text.whole))


def _without_reason(answer: Mapping[str, Any]) -> dict[str, Any]:
    if "choices" not in answer:
        return {**answer, "stop_reason": None}
    return {**answer, "choices": [{**answer["choices"][0], "finish_reason": None}]}


def broken_in_tool_call(vendor: Vendor, streamed: bool) -> Answer:
    if streamed:
        frames = vendor.tools.frames
        return (*stream(*frames[: len(frames) - vendor.closing - 1])[:-1], End.CLOSE)
    script = reply(whole(vendor.tools))
    return cut(script, len(bytes_of(script)) - 200)


def ended_in_tool_call(vendor: Vendor, streamed: bool) -> Answer:
    frames = vendor.tools.frames
    return stream(*frames[: len(frames) - vendor.closing - 1])


def short(vendor: Vendor, streamed: bool) -> Answer:
    """Fewer bytes than the head says."""
    body = b"".join(vendor.text.frames[: vendor.opening + 5]) if streamed else whole(vendor.text)
    fields = {"content-type": SSE if streamed else JSON, "content-length": str(len(body) + 100)}
    return (head(200, fields), body, End.CLOSE)


def bad_chunk(vendor: Vendor, streamed: bool) -> Answer:
    """A chunk whose size is no number."""
    if streamed:
        begun = stream(*vendor.text.frames[: vendor.opening + 5])[:-1]
        return (*begun, b"zz\r\nnonsense\r\n", Gate())
    begun = (chunked_head(JSON), chunk(whole(vendor.text)[:50]))
    return waiting(DRIP_S, begun, (b"zz\r\nnonsense\r\n", Gate()))


# Answers that are none ---------------------------------------------------------------------------


def error_body(vendor: Vendor, streamed: bool) -> Answer:
    return reply(vendor.error("Something is off today.", "odd_error"))


def empty_body(vendor: Vendor, streamed: bool) -> Answer:
    return stream() if streamed else reply(b"")


def empty_choices(vendor: Vendor, streamed: bool) -> Answer:
    if streamed:
        nothing = b'{"id": "x", "object": "chat.completion.chunk", "choices": []}'
        frame = vendor.framed(
            b"ping", nothing if vendor.dialect == "openai_chat" else b'{"type": "ping"}'
        )
        return stream(frame, vendor.text.frames[-1])
    if vendor.dialect == "openai_chat":
        return reply({**vendor.text.whole, "choices": []})
    return reply({**vendor.text.whole, "content": [], "stop_reason": None})


def redirect(vendor: Vendor, streamed: bool) -> Answer:
    def answer(seen: Seen) -> Script:
        return reply(status=307, headers={"location": "/v1/elsewhere"})

    return answer


def no_http(vendor: Vendor, streamed: bool) -> Answer:
    return (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Gate())


def bomb(vendor: Vendor, streamed: bool) -> Answer:
    """Compressed though nobody asked for it: 64 MiB of blanks in 64 KiB."""
    fields = {"content-encoding": "gzip"}
    kind = SSE if streamed else JSON
    return reply(BOMB, headers=fields, content_type=kind)


BOMB = gzip.compress(b" " * (64 << 20))


def endless(vendor: Vendor, streamed: bool) -> Answer:
    """A single event, or a body, without end."""
    start, kind = (b"data: ", SSE) if streamed else (b'{"a":"', JSON)
    return Timed(lambda: chain((chunked_head(kind), chunk(start)), repeat(chunk(b"m" * (1 << 16)))))


def bad_utf8(vendor: Vendor, streamed: bool) -> Answer:
    """A byte that no character has, inside the text."""
    wrong, right = b"\xff\xfe", "ï".encode()
    if not streamed:
        return reply(whole(vendor.text).replace(right, wrong))
    return stream(*(frame.replace(right, wrong) for frame in vendor.text.frames))


def bad_frame(at: int) -> Play:
    """An event that is no JSON, after so many events with content."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        frames = vendor.text.frames
        place = vendor.opening + at
        bad = vendor.framed(b"content_block_delta", b'{"choices": [{"delta": ')
        return stream(*frames[:place], bad, *frames[place:])

    return play


def error_event(at: int, message: str, type: str, code: str | None = None) -> Play:
    """An error as an event, after so many events with content."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        begin = vendor.text.frames[: vendor.opening + at]
        return stream(*begin, vendor.error_frame(message, type, code))

    return play


# Others ------------------------------------------------------------------------------------------


def filtered(vendor: Vendor, streamed: bool) -> Answer:
    """An answer that the vendor's own filter broke off, and says so."""
    return stream(*vendor.filtered.frames) if streamed else reply(whole(vendor.filtered))


class Flapping:
    """Fails at the first call and at every second one after it."""

    def __init__(self, vendor: Vendor, streamed: bool) -> None:
        self._answers = (
            reply(vendor.error("Down.", "overloaded_error"), status=503),
            vendor.answer(streamed),
        )
        self._times = 0

    def __call__(self, seen: Seen) -> Script:
        self._times += 1
        return self._answers[(self._times - 1) % 2]
