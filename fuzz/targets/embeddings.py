"""Answers with vectors, which are only passed on."""

from fairlead.dialects import DIALECTS
from fuzz.answers import check_answer
from fuzz.inputs import made

SEEDS = made("embeddings")
REQUEST = DIALECTS["openai_embeddings"].parse_request(b'{"model": "m", "input": "a"}', {})
MAX_BYTES = 1024


def check(data: bytes) -> None:
    check_answer("openai_embeddings", REQUEST, data, ())
