"""OpenAI's Chat Completions, both ways: the six methods. Each half is a file beside this one."""

from collections.abc import Mapping

from fairlead.dialects import (
    failures,
    openai_chat_decode,
    openai_chat_encode,
    openai_chat_parse,
    openai_chat_render,
    openai_chat_said,
    wire,
)
from fairlead.dialects.dialect import Decoder, Dialect, Encoder, Rendered, Reply, Said
from fairlead.dialects.openai_chat_wire import NAME, error_object
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Request
from fairlead.types.errors import GatewayError, UpstreamError


class OpenAIChat:
    name = NAME

    def parse_request(self, body: bytes, headers: Mapping[str, str]) -> Request:
        return openai_chat_parse.parse_request(body)

    def encoder(self, request: Request, reply: Reply) -> Encoder:
        return openai_chat_encode.encoder(request, reply)

    def render_error(self, error: GatewayError, request_id: str) -> bytes:
        return error_object(error, request_id)

    def render_request(
        self, request: Request, endpoint: Endpoint, max_output_tokens: int | None
    ) -> Rendered:
        try:
            return openai_chat_render.render_request(request, endpoint, max_output_tokens)
        except RecursionError as error:
            raise wire.bad_request(error) from None

    def decoder(self, request: Request, relay: bool) -> Decoder:
        return openai_chat_decode.decoder(request, relay)

    def said(self, passed: bytes) -> Said:
        return openai_chat_said.said(passed)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return failures.upstream_error(status, headers, body)


OPENAI_CHAT: Dialect = OpenAIChat()
