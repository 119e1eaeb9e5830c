"""OpenAI's Embeddings, both ways. Never translated: vectors of another dialect's model are of no
use to whoever compares them, so this dialect only passes on, and checks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from fairlead.dialects import failures, wire
from fairlead.dialects.dialect import Decoder, Dialect, Encoder, Rendered, Reply, Said
from fairlead.dialects.openai_chat_wire import error_object, usage_of
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import End, Event, Passed, Request
from fairlead.types.errors import BadRequest, Failure, GatewayError, UpstreamError

NAME = "openai_embeddings"
PATH = "/embeddings"
HEADERS = {"content-type": "application/json"}


class WireRequest(Struct):
    model: Annotated[str, Meta(min_length=1)]
    input: str | list[str | int | list[int]]
    metadata: Any = None
    """Not OpenAI's here; some endpoints take it, and limits may stand in it."""


class WireAnswer(Struct):
    data: list[Raw] | None = None
    usage: Any = None
    error: Any = None


_REQUEST = msgspec.json.Decoder(WireRequest)
_ANSWER = msgspec.json.Decoder(WireAnswer)


class OpenAIEmbeddings:
    name = NAME

    def parse_request(self, body: bytes, headers: Mapping[str, str]) -> Request:
        try:
            _ = body.isascii() or body.decode()  # msgspec looks at what it reads, and no further
            asked = _REQUEST.decode(body)
        except wire.UNDECODABLE as error:
            raise wire.bad_request(error) from error
        if b'"fairlead' in body:
            wire.check_no_limit(wire.members(body))
        limits = asked.metadata if isinstance(asked.metadata, dict) else {}
        return Request(
            dialect=NAME,
            model=asked.model,
            body=body,
            operation="embed",
            narrowing=wire.narrowing(limits)[0] if limits else wire.NOT_NARROWED,
            inputs=_inputs(asked.input),
        )

    def encoder(self, request: Request, reply: Reply) -> Encoder:
        return _Encoder(reply)

    def render_error(self, error: GatewayError, request_id: str) -> bytes:
        return error_object(error, request_id)

    def render_request(
        self, request: Request, endpoint: Endpoint, max_output_tokens: int | None
    ) -> Rendered:
        renamed = request.model != endpoint.upstream_model
        changes: dict[str, Any] = {"model": endpoint.upstream_model} if renamed else {}
        spent: list[str] = []
        if request.narrowing != wire.NOT_NARROWED:
            metadata = _REQUEST.decode(request.body).metadata
            rest = wire.narrowing(metadata)[1] if isinstance(metadata, dict) else metadata
            if not rest and metadata:
                spent.append("metadata")
            elif rest != metadata:
                changes["metadata"] = rest
        return Rendered(PATH, wire.splice(request.body, changes, spent), HEADERS)

    def decoder(self, request: Request, relay: bool) -> Decoder:
        return _Decoder()

    def said(self, passed: bytes) -> Said:
        return Said(plain=False)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return failures.upstream_error(status, headers, body)


def _inputs(given: str | list[str | int | list[int]]) -> tuple[str, ...]:
    """Token ids are kept as numbers in a text: enough to estimate how much is asked."""
    if isinstance(given, str):
        given = [given]
    elif given and all(isinstance(item, int) for item in given):
        given = [" ".join(map(str, given))]
    if not given or "" in given or [] in given:
        raise BadRequest("input: expected at least one text, and none empty.", param="input")
    if any(isinstance(item, int) for item in given):
        raise BadRequest("input: expected texts or token ids, not both.", param="input")
    return tuple(
        item if isinstance(item, str) else " ".join(map(str, item))
        for item in given
        if not isinstance(item, int)
    )


class _Encoder:
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def encode(self, event: Event) -> bytes:
        return event.data if isinstance(event, Passed | End) else b""

    def error(self, error: GatewayError) -> bytes:
        return error_object(error, self._reply.id)


class _Decoder:
    content_frames = 0

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def reported(self) -> None:
        return None

    def ending(self) -> None:
        return None

    def feed(self, data: bytes) -> Sequence[Event]:
        self._pieces.append(data)
        return ()

    def close(self) -> Sequence[Event]:
        body = b"".join(self._pieces)
        try:
            answer = _ANSWER.decode(body)
        except wire.UNDECODABLE as error:
            raise failures.bad_success(body) from error
        if answer.error:
            raise failures.bad_success(body)
        if not answer.data:
            raise UpstreamError(
                Failure.BAD_SUCCESS, "The endpoint's answer has no vectors.", upstream_status=200
            )
        return [End("stop", usage_of(answer.usage), data=body)]


OPENAI_EMBEDDINGS: Dialect = OpenAIEmbeddings()
