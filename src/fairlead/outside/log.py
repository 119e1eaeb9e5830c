"""One line of JSON for each request: a sink. Never a prompt, an answer or a secret.

The loop only gathers lines; a thread encodes and writes, ten times a second at most. When
whoever reads the stream falls behind, lines are dropped and counted, and nothing waits.
"""

import sys
from collections import deque
from datetime import UTC, datetime
from threading import Event, Thread
from typing import BinaryIO, Literal

import msgspec
from msgspec import Struct

from fairlead.outside.text import printable, storable
from fairlead.types.facts import Exchanged, Fact, Refused

WRITE_EVERY_S = 0.1
MOST_LINES = 10_000

Level = Literal["info", "warning", "error"]

LEVELS: dict[str, Level] = {"ok": "info", "cancelled": "info", "failed": "error"}


class Line(Struct, frozen=True, omit_defaults=True):
    """A request. What is empty or unknown is left out."""

    at: datetime
    level: Level
    request_id: str
    outcome: str
    status: int
    caller: str
    dialect: str
    asked: str
    code: str = ""
    reason: str = ""
    route: str = ""
    task: str = ""
    stream: bool = False
    model: str = ""
    endpoint: str = ""
    attempts: int = 0
    failures: tuple[str, ...] = ()
    """Endpoints that failed on the way, with the class of failure."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano_usd: int | None = None
    first_token_ms: float | None = None
    total_ms: float = 0.0
    overhead_ms: float = 0.0
    workflow: str = ""
    step: str = ""


class Note(Struct, frozen=True):
    """Something that is not a request: a start, a reload, a disk that fills."""

    at: datetime
    level: Level
    message: str


class Log:
    """Lines go to ``stream``, by default stderr, until ``close``."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream or sys.stderr.buffer
        self._lines: deque[Line | Note] = deque()
        self._wake, self._stop = Event(), Event()
        self._encode = msgspec.json.Encoder().encode
        self.lost = 0
        self._thread = Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def __call__(self, fact: Fact) -> None:
        if isinstance(fact, Exchanged):
            self._add(_exchanged(fact))
        elif isinstance(fact, Refused):
            self._add(_refused(fact))

    def note(self, level: Level, message: str, at_ms: int) -> None:
        self._add(Note(_moment(at_ms), level, storable(message)))

    def close(self) -> None:
        """Write what is left. Waits a second for a reader that is stuck."""
        self._stop.set()
        self._wake.set()
        self._thread.join(1.0)

    def _add(self, line: Line | Note) -> None:
        if len(self._lines) >= MOST_LINES:
            self.lost += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def _written(self, line: Line | Note) -> bytes:
        try:
            return printable(self._encode(line))
        except UnicodeEncodeError:  # a lone surrogate in a name from a file
            self.lost += 1
            return b""

    def _write_lines(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(WRITE_EVERY_S)
            self._wake.clear()
            # Only this thread takes lines away: so many are there, or more.
            taken = [self._lines.popleft() for _ in range(len(self._lines))]
            lines = [written for line in taken if (written := self._written(line))]
            try:
                self._stream.write(b"\n".join([*lines, b""]))
                self._stream.flush()
            except (OSError, ValueError):  # the reader is gone, or the stream is closed
                self.lost += len(lines)


def _exchanged(fact: Exchanged) -> Line:
    last, usage, first_token_ms = fact.attempts[-1:], fact.usage, fact.first_token_ms
    failures: tuple[str, ...] = ()
    if len(fact.attempts) > 1 or fact.outcome != "ok":
        failures = tuple(f"{one.endpoint}: {one.failure}" for one in fact.attempts if one.failure)
    return Line(
        at=_moment(fact.at_ms),
        level=LEVELS[fact.outcome],
        request_id=fact.request_id,
        outcome=fact.outcome,
        status=fact.status,
        caller=fact.caller_name,
        dialect=fact.dialect,
        asked=storable(fact.asked),
        code=fact.code,
        reason=fact.reason,
        route=fact.route,
        task=fact.task,
        stream=fact.stream,
        model=last[0].model if last else "",
        endpoint=last[0].endpoint if last else "",
        attempts=len(fact.attempts),
        failures=failures,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_nano_usd=fact.cost_nano_usd,
        first_token_ms=None if first_token_ms is None else _brief(first_token_ms),
        total_ms=_brief(fact.total_ms),
        overhead_ms=_brief(fact.overhead_ms),
        workflow=storable(fact.workflow),
        step=storable(fact.step),
    )


def _refused(fact: Refused) -> Line:
    return Line(
        at=_moment(fact.at_ms),
        level="warning",
        request_id=fact.request_id,
        outcome="refused",
        status=fact.status,
        caller=fact.caller_name,
        dialect=fact.dialect,
        asked=storable(fact.asked),
        code=fact.code,
        reason=storable(fact.message),
        total_ms=_brief(fact.total_ms),
        workflow=storable(fact.workflow),
        step=storable(fact.step),
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _brief(ms: float) -> float:
    """To the microsecond, for a third of what ``round`` costs."""
    return int(ms * 1000) / 1000
