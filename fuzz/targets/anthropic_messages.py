"""Answers streamed in Anthropic's dialect, passed on and translated."""

from msgspec.structs import replace

from fairlead.dialects import DIALECTS
from fairlead.types.chat import Request
from fuzz.answers import check_answer
from fuzz.inputs import golden, made

SEEDS = [
    *golden("anthropic_messages", "stream_*/wire.sse"),
    *golden("anthropic_messages", "broken_*/wire.sse"),
    *made("anthropic_messages"),
]
MAX_BYTES = 1024


def _asked(dialect: str, body: bytes) -> Request:
    return DIALECTS[dialect].parse_request(body, {})


OWN = _asked("anthropic_messages", golden("anthropic_messages", "request_agent/wire.json")[0])
ITS = _asked("openai_chat", golden("openai_chat", "request_agent/wire.json")[0])


def check(data: bytes, stream: bool = True) -> None:
    own = replace(OWN, stream=stream)
    others = own, replace(ITS, stream=stream, include_usage=bool(len(data) % 2))
    check_answer("anthropic_messages", own, data, others)
