"""Answers streamed in OpenAI's dialect, passed on and translated."""

from msgspec.structs import replace

from fairlead.dialects import DIALECTS
from fairlead.types.chat import Request
from fuzz.answers import check_answer
from fuzz.inputs import golden, made

SEEDS = [*golden("openai_chat", "stream_*/wire.sse"), *made("openai_chat")]
MAX_BYTES = 1024


def _asked(dialect: str, body: bytes) -> Request:
    return DIALECTS[dialect].parse_request(body, {})


OWN = _asked("openai_chat", golden("openai_chat", "request_agent/wire.json")[0])
ITS = _asked("anthropic_messages", golden("anthropic_messages", "request_agent/wire.json")[0])


def check(data: bytes, stream: bool = True) -> None:
    own = replace(OWN, stream=stream, include_usage=bool(len(data) % 2))
    others = replace(OWN, stream=stream), replace(ITS, stream=stream)
    check_answer("openai_chat", own, data, others)
