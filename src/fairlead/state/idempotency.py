"""Answers kept for callers who ask again with the same ``Idempotency-Key``, for a day. Knows the
table, not the database; no clock of its own.

A request that is under way is known in memory, and to other processes by a claim, which ends with
the process that has it. If that dies the caller may ask anew, because nobody has the answer. What
it had cost is in the ledger.
"""

from collections.abc import Awaitable, Mapping
from hashlib import sha256
from typing import Protocol

import msgspec
from msgspec import Struct

from fairlead.state.ledger import Writer
from fairlead.types.errors import BadRequest, KeyInUse, KeyReused

LONGEST_KEY = 255
KEEP_MS = 86_400_000
MOST_BYTES = 1 << 20
"""Of one answer; longer ones are not kept. 128k tokens of text are half a megabyte in one piece;
as a stream, with JSON around each token, a megabyte holds some five thousand."""
MOST_ANSWERS = 10_000
MOST_BYTES_KEPT = 256 << 20
"""Beyond these the oldest go first."""
SOONEST_RETRY_S, LATEST_RETRY_S = 1.0, 30.0

IN_USE = "a request with this idempotency-key is being answered; ask again for its answer"

KEEP = "INSERT OR REPLACE INTO kept_answer VALUES (?, ?, ?, ?, ?, ?, ?)"
FIND = """
SELECT body_hash, request_id, at_ms, streamed, headers, body FROM kept_answer
WHERE name = ? AND at_ms >= ?
"""
FORGET = """
DELETE FROM kept_answer WHERE at_ms < ? OR name IN (
  SELECT name FROM (
    SELECT name, row_number() OVER newest AS place, sum(length(body)) OVER newest AS bytes
    FROM kept_answer WINDOW newest AS (ORDER BY at_ms DESC, name)
  ) WHERE place > ? OR bytes > ?
)
"""


class Asked(Struct, frozen=True):
    """Who asks under which key, and what. Digests: neither the key nor the prompt is kept."""

    name: bytes
    body_hash: bytes


class Kept(Struct, frozen=True):
    """An answer as the caller got it, without what belongs to one request alone."""

    request_id: str
    """Of the request that was answered."""
    at_ms: int
    streamed: bool
    headers: Mapping[str, str]
    body: bytes


class Claims(Protocol):
    """Names that are taken across processes."""

    def take(self, name: bytes) -> bool:
        """Whether it is ours now."""
        ...

    def give_back(self, name: bytes) -> None: ...


class Alone:
    """Where there is no other process."""

    def take(self, name: bytes) -> bool:
        return True

    def give_back(self, name: bytes) -> None: ...


ALONE = Alone()


class Idempotency:
    """One per process and database. ``find`` and ``forget`` block, and may be called from any
    thread; the rest from the loop's."""

    def __init__(self, writer: Writer, claims: Claims = ALONE) -> None:
        self._writer = writer
        self._claims = claims
        self._open: dict[bytes, tuple[bytes, int]] = {}
        """By name: what was asked, and since when."""

    def begin(self, asked: Asked, now_ms: int) -> None:
        """Take the name for a request that is not answered yet. An answer that was found by nobody
        before may be there by then: look again. Raises KeyInUse and KeyReused."""
        self.check(asked, now_ms)
        if not self._claims.take(asked.name):
            raise KeyInUse(IN_USE, retry_after_s=SOONEST_RETRY_S)
        self._open[asked.name] = asked.body_hash, now_ms

    def check(self, asked: Asked, now_ms: int) -> None:
        """Raises KeyInUse while it is under way, and KeyReused where that asks something else."""
        if (held := self._open.get(asked.name)) is None:
            return
        body_hash, since_ms = held
        _same(body_hash, asked)
        # As long again as it has taken so far.
        retry_s = min(max((now_ms - since_ms) / 1000, SOONEST_RETRY_S), LATEST_RETRY_S)
        raise KeyInUse(IN_USE, retry_after_s=retry_s)

    def end(self, asked: Asked) -> None:
        """It is answered, or it failed and may be asked again."""
        if self._open.pop(asked.name, None) is not None:
            self._claims.give_back(asked.name)

    def find(self, asked: Asked, now_ms: int) -> Kept | None:
        """Raises KeyReused where the key was answered for something else."""
        for body_hash, *rest in self._writer.read(FIND, (asked.name, now_ms - KEEP_MS)):
            _same(body_hash, asked)
            request_id, at_ms, streamed, headers, body = rest
            told = msgspec.json.decode(str(headers), type=dict[str, str])
            values = (request_id, at_ms, bool(streamed), told, body)
            return msgspec.convert(dict(zip(Kept.__struct_fields__, values, strict=True)), Kept)
        return None

    def keep(self, asked: Asked, kept: Kept) -> Awaitable[None]:
        """The result resolves once it is on disk, or raises Overloaded."""
        headers = msgspec.json.encode(kept.headers).decode()
        return self._writer.append_durable(
            KEEP,
            (
                *(asked.name, asked.body_hash, kept.request_id, kept.at_ms, kept.streamed),
                *(headers, kept.body),
            ),
        )

    def forget(self, now_ms: int) -> int:
        """Remove what is older than a day, and what there is too much of. Returns how many."""
        return self._writer.write(FORGET, (now_ms - KEEP_MS, MOST_ANSWERS, MOST_BYTES_KEPT))


def asked(key_id: str, key: str, *parts: bytes) -> Asked:
    """``parts``: all that the answer depends on. Raises BadRequest on what is no key."""
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise BadRequest(
            f"idempotency-key: 1 to {LONGEST_KEY} printable ASCII characters",
            param="idempotency-key",
        )
    return Asked(_digest(key_id.encode(), key.encode()), _digest(*parts))


def _digest(*parts: bytes) -> bytes:
    """Of each with its length: no two lists of parts are one text."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _same(body_hash: object, asked: Asked) -> None:
    if body_hash != asked.body_hash:
        raise KeyReused(
            "this idempotency-key was used for another request; a new request needs a new key"
        )
