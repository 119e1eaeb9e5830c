"""Answers in one piece in Anthropic's dialect, passed on and translated; token counts."""

from fairlead.dialects import DIALECTS
from fuzz.answers import check_answer
from fuzz.inputs import golden, made
from fuzz.targets import anthropic_messages

SEEDS = [*golden("anthropic_messages", "answer_*/wire.json"), *made("anthropic_messages")]
MAX_BYTES = 1024
COUNT = DIALECTS["anthropic_count_tokens"].parse_request(anthropic_messages.OWN.body, {})


def check(data: bytes) -> None:
    anthropic_messages.check(data, stream=False)
    check_answer("anthropic_count_tokens", COUNT, data, ())
