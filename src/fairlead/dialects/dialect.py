"""The one interface: what each file in this folder offers. Pure: bytes in, values out, and back."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from fairlead.types.catalog import Endpoint
from fairlead.types.chat import End, Event, Request, Usage
from fairlead.types.errors import GatewayError, UpstreamError


class Rendered(Struct, frozen=True):
    """A request in an endpoint's dialect, ready to be signed and sent."""

    path: str
    """Appended to the endpoint's ``base_url``, such as ``/chat/completions``."""
    body: bytes
    headers: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    """Fields of the caller's request that this crossing leaves behind; told in a header."""


class Reply(Struct, frozen=True):
    """What an encoder needs to know about the answer that is not in its events."""

    id: str
    """The exchange's id, without a vendor's prefix."""
    created_s: int
    model: str
    """The model that answers, as the caller should see it."""


class Said(Struct, frozen=True):
    """What a caller has seen of a streamed answer whose frames were passed on to it."""

    text: str = ""
    plain: bool = True
    """Nothing but one text, and nothing that is not understood: another attempt can go on."""


class Decoder(Protocol):
    """Sans-IO: feed bytes as they come, get the events they complete.

    Both raise UpstreamError: BAD_SUCCESS for a 200 that holds an error, HTML or nothing,
    STREAM_BROKEN for a stream that stops short. After End nothing more is yielded.
    """

    content_frames: int
    """Of a stream, so far: each is a token or a few."""

    def reported(self) -> Usage | None:
        """What a stream has said so far that it used; None where it has said nothing."""
        ...

    def ending(self) -> End | None:
        """The end of a stream that has said why it ends, and whose last frames did not come."""
        ...

    def feed(self, data: bytes) -> Sequence[Event]: ...

    def close(self) -> Sequence[Event]:
        """The endpoint closed its side. Yields what is left, ending in End, or raises."""
        ...


class Encoder(Protocol):
    """Events to the caller's wire format. Not streaming: ``b""`` until End, then the whole."""

    def encode(self, event: Event) -> bytes: ...

    def error(self, error: GatewayError) -> bytes:
        """The in-stream error frame, after bytes were sent. Never followed by a terminal."""
        ...


class Dialect(Protocol):
    name: str

    # Towards the caller.
    def parse_request(self, body: bytes, headers: Mapping[str, str]) -> Request:
        """``headers`` have lower-case names. Raises BadRequest with ``param`` set where known."""
        ...

    def encoder(self, request: Request, reply: Reply) -> Encoder: ...

    def render_error(self, error: GatewayError, request_id: str) -> bytes: ...

    # Towards an endpoint.
    def render_request(
        self, request: Request, endpoint: Endpoint, max_output_tokens: int | None
    ) -> Rendered:
        """``max_output_tokens`` is a cap to impose, or None. A request already in this dialect
        keeps its bytes but for the model's name, that cap and fairlead's own metadata. Raises
        BadRequest for what cannot cross."""
        ...

    def decoder(self, request: Request, relay: bool) -> Decoder:
        """``relay``: the caller speaks this dialect too, so yield Passed and End with bytes."""
        ...

    def said(self, passed: bytes) -> Said:
        """Read again what a relay passed on, once its stream is broken. Never raises."""
        ...

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError: ...
