"""Answers in one piece in OpenAI's dialect, passed on and translated."""

from fuzz.inputs import golden, made
from fuzz.targets import openai_chat

SEEDS = [*golden("openai_chat", "answer_*/wire.json"), *made("openai_chat")]
MAX_BYTES = 1024


def check(data: bytes) -> None:
    openai_chat.check(data, stream=False)
