"""Requests with an ``Idempotency-Key``: answered once, and replayed to whoever asks again.

A caller that leaves is expected back, so its answer is finished without it, as long as it can be
kept and not too many are. Nothing here runs for a request without the header.
"""

import asyncio
from asyncio import CancelledError, to_thread
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from time import time
from traceback import clear_frames

from fairlead.gateway import CUT, Answer, Call, Gateway
from fairlead.state.idempotency import MOST_BYTES, Asked, Idempotency, Kept, asked
from fairlead.types.errors import GatewayError, Overloaded

HEADER = "idempotency-key"
AHEAD_BYTES = 256 << 10
"""An answer is read so far ahead of a slow caller."""
MOST_ALONE = 100
"""Answers that are finished without their callers."""


class Replays:
    """One per listener, on its loop."""

    def __init__(self, gateway: Gateway, idempotency: Idempotency) -> None:
        self._gateway = gateway
        self._idempotency = idempotency
        self._recordings: set[Recording] = set()

    async def answer(self, call: Call, key: str) -> Answer:
        """As ``Gateway.answer``, once for each key. Raises GatewayError."""
        try:
            caller = self._gateway.identify(call)
            once = asked(caller.id, key, call.dialect.encode(), _wishes(call), call.body)
            kept = await self._find(once)
        except GatewayError as refusal:
            self._gateway.turned_away(call, refusal)
            raise
        except CancelledError as cancelled:
            if cancelled.args != (CUT,):
                raise
            raise self._gateway.cut(call) from None
        if kept is None:
            recording = Recording(self._idempotency, once)
            recording.task = asyncio.create_task(self._record(call, recording))
            self._recordings.add(recording)
            return await recording.answer(self._may_go_on)
        route = kept.headers.get("x-fairlead-route", "")
        self._gateway.replayed(call, caller, kept.request_id, route)
        headers = {**kept.headers, "x-fairlead-replayed": kept.request_id}
        return Answer(headers, kept.body, _nothing() if kept.streamed else None)

    @property
    def going_on(self) -> int:
        """Answers under way, some of them without their callers."""
        return len(self._recordings)

    async def close(self) -> None:
        """Stop what is still answered without its caller; it settles."""
        tasks = [recording.task for recording in self._recordings]
        for task in tasks:
            task.cancel(CUT)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, once: Asked) -> Kept | None:
        """None: it is ours to answer. Raises KeyInUse and KeyReused."""
        self._idempotency.check(once, _now_ms())
        kept = await to_thread(self._idempotency.find, once, _now_ms())
        if kept is not None:
            return kept
        self._idempotency.begin(once, _now_ms())
        try:
            kept = await to_thread(self._idempotency.find, once, _now_ms())
        except BaseException:
            self._idempotency.end(once)
            raise
        if kept is not None:
            self._idempotency.end(once)
        return kept

    async def _record(self, call: Call, recording: "Recording") -> None:
        try:
            await recording.take(await self._gateway.answer(call), call.request_id)
        finally:
            self._idempotency.end(recording.asked)
            self._recordings.discard(recording)

    def _may_go_on(self) -> bool:
        return sum(each.alone for each in self._recordings) < MOST_ALONE


class Recording:
    """One answer on its way to its caller and into the store. ``task`` takes it from the gateway;
    whoever asked takes it from here."""

    task: asyncio.Task[None]

    def __init__(self, idempotency: Idempotency, once: Asked) -> None:
        self.asked = once
        self.alone = False
        self._idempotency = idempotency
        self._whole: Answer | None = None
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        """The answer so far, as long as it is short enough to be kept."""
        self._size = 0
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._grown, self._room = asyncio.Event(), asyncio.Event()

    # What the task does.

    async def take(self, answer: Answer, request_id: str) -> None:
        """Keep the answer, and pass it on. Raises GatewayError where its stream does."""
        self._headers = dict(answer.headers)
        if answer.stream is None:
            self._add(answer.body)
            await self._keep(request_id, streamed=False)
            self._whole = answer
            return
        async with aclosing(answer.stream) as pieces:
            self._pass_on(answer.body)
            async for piece in pieces:
                self._pass_on(piece)
                try:
                    await self._has_room()
                except CancelledError as cancelled:
                    if cancelled.args != (CUT,):
                        raise
                    with suppress(StopAsyncIteration):  # all was said
                        self._pass_on(await answer.stream.athrow(cancelled))  # how it ends
        await self._keep(request_id, streamed=True)

    async def _has_room(self) -> None:
        while self._unsent_bytes > AHEAD_BYTES and not self.alone:
            self._room.clear()
            await self._room.wait()

    def _pass_on(self, piece: bytes) -> None:
        self._add(piece)
        if not self.alone:
            self._unsent.append(piece)
            self._unsent_bytes += len(piece)
        self._grown.set()

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MOST_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
            if self.alone:
                self.task.cancel()

    async def _keep(self, request_id: str, *, streamed: bool) -> None:
        if self._size <= MOST_BYTES:
            body = b"".join(self._pieces)
            kept = Kept(request_id, _now_ms(), streamed, self._headers, body)
            with suppress(Overloaded):  # it is settled, and the caller has it
                await _through(self._idempotency.keep(self.asked, kept))

    # What whoever asked does.

    async def answer(self, may_go_on: Callable[[], bool]) -> Answer:
        """For the one who asked. If that one leaves, ``may_go_on`` says whether to finish all the
        same. Raises GatewayError."""
        self.task.add_done_callback(self._is_over)
        pieces = self._coming(may_go_on)
        first = await anext(pieces, b"")
        return self._whole or Answer(self._headers, first, pieces)

    async def _coming(self, may_go_on: Callable[[], bool]) -> AsyncGenerator[bytes]:
        try:
            while True:
                try:
                    while self._unsent:
                        piece = self._unsent.popleft()
                        self._unsent_bytes -= len(piece)
                        self._room.set()
                        yield piece
                    if not self.task.done():
                        self._grown.clear()
                        await self._grown.wait()
                        continue
                except CancelledError as cancelled:
                    if cancelled.args != (CUT,):
                        raise
                    self.task.cancel(CUT)  # and pass on what it has to say to that
                    continue
                self.task.result()
                return
        finally:
            if not self.task.done():
                self._leave(may_go_on())

    def _leave(self, may_go_on: bool) -> None:
        if not may_go_on or self._size > MOST_BYTES:
            self.task.cancel()
            return
        self.alone = True
        self._unsent.clear()
        self._room.set()

    def _is_over(self, task: asyncio.Task[None]) -> None:
        """Its error is seen here, since nobody may be there to hear of it. The error's frames know
        this recording, which knows the task: all that was read would be kept."""
        self._grown.set()
        with suppress(CancelledError):
            error = task.exception()
            if error is not None:
                clear_frames(error.__traceback__)


async def _through(stored: Awaitable[None]) -> None:
    """Wait for what is nearly there, even if we are cut: the answer is whole."""
    storing = asyncio.ensure_future(stored)
    try:
        await asyncio.shield(storing)
    except CancelledError as cancelled:
        if cancelled.args != (CUT,):
            raise
        await storing


def _wishes(call: Call) -> bytes:
    """What else can change the answer: to stay in a zone, say."""
    lines = [f"{name.lower()}: {value}" for name, value in call.headers.items()]
    return "\n".join(sorted(line for line in lines if line.startswith("x-fairlead-"))).encode()


def _now_ms() -> int:
    return int(time() * 1000)


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield
