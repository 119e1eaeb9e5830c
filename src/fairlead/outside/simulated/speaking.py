"""Sends an answer over HTTP at the model's pace, or breaks off as it was told to."""

import asyncio
import time

import msgspec
from aiohttp import web
from msgspec import Struct

from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Reply
from fairlead.outside.simulated import bodies
from fairlead.outside.simulated.answers import (
    CHARS_PER_TOKEN,
    PIECE_CHARS,
    Answer,
    compose,
    events,
)
from fairlead.outside.simulated.faults import FaultKind
from fairlead.outside.simulated.profiles import Profile
from fairlead.types.chat import Request
from fairlead.types.decision import Task

JSON = {"content-type": "application/json"}
STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache"}


class Asked(Struct, frozen=True):
    """A request that will be answered, and how."""

    request: Request
    task: Task
    profile: Profile
    fault: FaultKind | None
    scale: float
    """What every delay is multiplied by; 0 waits for nothing."""

    @property
    def first_token_s(self) -> float:
        profile = self.profile
        reading_s = self.task.input_tokens / profile.prefill_tokens_per_s
        return (profile.first_token_ms / 1000 + reading_s) * self.scale

    def writing_s(self, tokens: float) -> float:
        return tokens / self.profile.tokens_per_s * self.scale


async def answer(http: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    request, model = asked.request, asked.profile.model
    if request.operation == "count":
        return _json(msgspec.json.encode({"input_tokens": asked.task.input_tokens}))
    await asyncio.sleep(asked.first_token_s)
    if asked.fault == "malformed":
        return _nonsense(request)
    if request.operation == "embed":
        wish = msgspec.json.decode(request.body, type=bodies.Embeddable)
        return await _whole(http, asked, bodies.embeddings(model.name, request.inputs, wish))
    composed = compose(request, asked.task, model)
    if request.stream:
        return await _streamed(http, asked, _frames(request, composed))
    await asyncio.sleep(asked.writing_s(composed.usage.output_tokens))
    return await _whole(http, asked, b"".join(_frames(request, composed)))


def hang_up(http: web.BaseRequest) -> web.StreamResponse:
    """Reset the connection; what is returned is for aiohttp and reaches nobody."""
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=503)


def _frames(request: Request, composed: Answer) -> list[bytes]:
    """The answer in the dialect it was asked in, a frame for each event."""
    reply = Reply(id=composed.id, created_s=int(time.time()), model=composed.model)
    encoder = DIALECTS[request.dialect].encoder(request, reply)
    return [encoder.encode(event) for event in events(composed)]


async def _streamed(http: web.BaseRequest, asked: Asked, frames: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers=STREAM)
    await response.prepare(http)
    if asked.fault == "cut":
        frames = frames[: len(frames) // 2]
    began = time.monotonic()
    for written, frame in enumerate(frames):
        due_s = asked.writing_s(written * PIECE_CHARS / CHARS_PER_TOKEN)
        # Sleeping for what is left, not for a piece's time, keeps the rate whatever sending takes.
        await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
        await response.write(frame)
    if asked.fault == "cut":
        return hang_up(http)
    await response.write_eof()
    return response


async def _whole(http: web.BaseRequest, asked: Asked, body: bytes) -> web.StreamResponse:
    if asked.fault != "cut":
        return _json(body)
    response = web.StreamResponse(headers={**JSON, "content-length": str(len(body))})
    await response.prepare(http)
    await response.write(body[: len(body) // 2])
    return hang_up(http)


def _json(body: bytes) -> web.StreamResponse:
    return web.Response(body=body, headers=JSON)


def _nonsense(request: Request) -> web.StreamResponse:
    """Status 200, and nothing of the dialect in it."""
    if request.stream:
        return web.Response(body=bodies.BROKEN_FRAME, headers=STREAM)
    return web.Response(body=bodies.HTML, headers={"content-type": "text/html"})
