"""Anthropic's Messages, both ways: the six methods, and those of its token counts. Each half is a
file beside this one."""

from collections.abc import Mapping
from functools import partial

from fairlead.dialects import (
    anthropic_messages_encode,
    anthropic_messages_parse,
    anthropic_messages_render,
    anthropic_messages_said,
    failures,
    wire,
)
from fairlead.dialects.anthropic_messages_decode import (
    RelayStream,
    TranslatedStream,
    Whole,
    relay_count,
    relay_message,
    translate_message,
)
from fairlead.dialects.anthropic_messages_wire import COUNT_NAME, NAME
from fairlead.dialects.dialect import Decoder, Dialect, Encoder, Rendered, Reply, Said
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Request
from fairlead.types.errors import GatewayError, UpstreamError


class AnthropicMessages:
    name = NAME

    def parse_request(self, body: bytes, headers: Mapping[str, str]) -> Request:
        return anthropic_messages_parse.parse_request(body, headers, "chat")

    def encoder(self, request: Request, reply: Reply) -> Encoder:
        return anthropic_messages_encode.encoder(request, reply)

    def render_error(self, error: GatewayError, request_id: str) -> bytes:
        return anthropic_messages_encode.error_body(error, request_id)

    def render_request(
        self, request: Request, endpoint: Endpoint, max_output_tokens: int | None
    ) -> Rendered:
        try:
            return anthropic_messages_render.render_request(request, endpoint, max_output_tokens)
        except RecursionError as error:
            raise wire.bad_request(error) from None

    def decoder(self, request: Request, relay: bool) -> Decoder:
        if request.operation == "count":
            return Whole(relay_count)
        if relay:
            return RelayStream() if request.stream else Whole(relay_message)
        names = wire.original_tool_names(tool.name for tool in request.tools)
        if request.stream:
            return TranslatedStream(names)
        return Whole(partial(translate_message, original_names=names))

    def said(self, passed: bytes) -> Said:
        return anthropic_messages_said.said(passed)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return failures.upstream_error(status, headers, body)


class AnthropicCount(AnthropicMessages):
    """``/v1/messages/count_tokens``. Its requests say that they are in ``anthropic_messages``,
    for that is what the endpoints speak which can answer them."""

    name = COUNT_NAME

    def parse_request(self, body: bytes, headers: Mapping[str, str]) -> Request:
        return anthropic_messages_parse.parse_request(body, headers, "count")


ANTHROPIC_MESSAGES: Dialect = AnthropicMessages()
ANTHROPIC_COUNT: Dialect = AnthropicCount()
