"""A client of the simulated gateway, doing what the listener does for one: asks, reads, leaves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing

from multidict import CIMultiDict

from fairlead.gateway import CUT, Answer, Call, Gateway
from fairlead.types.errors import GatewayError
from prove.simulation.answers import ANTHROPIC, OPENAI, asked, got_frames, got_whole
from prove.simulation.invariants import must
from prove.simulation.stopping import HUNG_UP, REFUSED, SHUT
from prove.simulation.story import Ask
from prove.simulation.wire import Response, Site, Wire, written

OK = 200
PATHS = {OPENAI: "/v1/chat/completions", ANTHROPIC: "/v1/messages"}


class Left(Exception):
    """The client closed the connection between two pieces."""


class Client:
    def __init__(self, ask: Ask, key: str, texts: Callable[[], Collection[str]]) -> None:
        """``texts``: the answers of those who were asked for it."""
        self.ask = ask
        self.texts = texts
        self._key = key
        self.received: list[bytes] = []
        self.began_s = 0.0
        """When it sent its head over the wire."""

    def call(self, now_ms: int, now_s: float) -> Call:
        ask = self.ask
        headers = {"x-fairlead-zone": ask.zone} if ask.zone else {}
        return Call(
            request_id=f"r{ask.number}",
            dialect=ask.dialect,
            body=self._body(),
            headers=CIMultiDict(headers),
            credential=self._key,
            at_ms=now_ms,
            arrived_s=now_s,
        )

    def _body(self) -> bytes:
        ask = self.ask
        fields = [f'"model":"{ask.model}"', f'"stream":{"true" if ask.stream else "false"}']
        content = asked(ask.says or ask.number, ask.words, ask.padding)
        fields.append(f'"messages":[{{"role":"user","content":"{content}"}}]')
        most = ask.max_tokens or (300 if ask.dialect == ANTHROPIC else None)
        if most is not None:
            fields.append(f'"max_tokens":{most}')
        return f"{{{','.join(fields)}}}".encode()

    async def have(self, gateway: Gateway, call: Call) -> str:
        """How it ended: ``ok``, ``cut`` (an error in the stream), a code, or ``left``."""
        try:
            answer = await gateway.answer(call)
            if answer.stream is None:
                self.received.append(answer.body)
                self._is_right()
            else:
                await self._read(answer, answer.stream)
        except GatewayError as error:
            if not self.received:
                return error.code
            self._is_cut()
            return "cut"
        except Left:
            return "left"
        return "ok"

    async def have_from(self, site: Site, response: Response) -> str:
        """The same over a wire; a refusal is its status."""
        ask = self.ask
        self.began_s = asyncio.get_running_loop().time()
        try:
            wire = site.connect(ask.holds)
        except ConnectionRefusedError:
            return REFUSED
        try:
            await self._send(wire)
            while not response.whole:
                data = await wire.read()
                if not data:
                    break
                response.feed(data)
                await self._take(data)
                if ask.leaves_after is not None and len(self.received) > ask.leaves_after:
                    return "left"
        finally:
            wire.leave()
        self.received = [response.body]
        if not response.status:
            return HUNG_UP
        if response.status != OK:
            return SHUT if CUT.encode() in response.body else str(response.status)
        if response.whole:
            self._is_right()
            return "ok"
        if not got_frames(ask.dialect, response.body).errors:
            return HUNG_UP
        self._is_cut()
        return "cut"

    async def _send(self, wire: Wire) -> None:
        ask = self.ask
        headers = {"authorization": f"Bearer {self._key}"}
        if ask.zone:
            headers["x-fairlead-zone"] = ask.zone
        if ask.key:
            headers["idempotency-key"] = ask.key
        if ask.idles_s is not None:
            await asyncio.sleep(ask.idles_s)
        self.began_s = asyncio.get_running_loop().time()
        head, body = written(PATHS[ask.dialect], headers, self._body())
        if ask.body_after_s is None:
            wire.send(head + body)
            return
        wire.send(head)
        await asyncio.sleep(ask.body_after_s)
        wire.send(body)

    async def _read(self, answer: Answer, stream: AsyncGenerator[bytes]) -> None:
        ask = self.ask
        async with aclosing(stream) as pieces:
            await self._take(answer.body)
            async for piece in pieces:
                await self._take(piece)
                if ask.leaves_after is not None and len(self.received) > ask.leaves_after:
                    raise Left
        self._is_right()

    async def _take(self, piece: bytes) -> None:
        self.received.append(piece)
        if self.ask.slow_s:
            await asyncio.sleep(self.ask.slow_s)

    def _is_right(self) -> None:
        ask, data = self.ask, b"".join(self.received)
        got = (got_frames if ask.stream else got_whole)(ask.dialect, data)
        shown = f"request {ask.number}: {got}"
        must(got.ends == 1 and not got.errors, "one terminal frame", shown)
        must(got.after == 0, "nothing follows the end", shown)
        must(got.text in self.texts(), "the text is whole", f"{shown}, not of {self.texts()}")

    def _is_cut(self) -> None:
        ask = self.ask
        got = got_frames(ask.dialect, b"".join(self.received))
        shown = f"request {ask.number}: {got}"
        must(got.errors == 1 and not got.ends, "one error frame", shown)
        must(got.after == 0, "nothing follows an error", shown)
        right = any(text.startswith(got.text) for text in self.texts())
        must(right, "what was told before an error is right", shown)
