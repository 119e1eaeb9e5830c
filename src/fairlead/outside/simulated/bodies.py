"""The bodies that no dialect writes for us: vendors' errors, model lists, embeddings, counts."""

import base64
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.outside.simulated.answers import tokens_of
from fairlead.outside.simulated.embedding import DIMENSIONS, embed
from fairlead.outside.simulated.faults import FaultKind, WireError
from fairlead.types.catalog import Model

ENCODER = msgspec.json.Encoder()
HTML = b"<html><body><h1>Simulated failure</h1><p>This is no answer.</p></body></html>"
BROKEN_FRAME = b'data: {"choices":[{"delta":{"content":"\n\n'


class Named(Struct):
    """All that must be read of a request to know which fault strikes it."""

    model: str = ""


class Embeddable(Struct):
    """What of an embeddings request the neutral one does not carry."""

    encoding_format: str = "float"
    dimensions: int | None = None


class Order(Struct, forbid_unknown_fields=True):
    """``POST /simulate``: what shall go wrong. Without a fault, all is well again."""

    model: str = "*"
    fault: FaultKind | None = None
    times: int | None = None
    factor: float = 10.0
    retry_after_s: int = 2


def named_model(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Named).model
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def error_body(error: WireError, message: str, anthropic: bool) -> bytes:
    """docs.anthropic.com/en/api/errors and platform.openai.com/docs/guides/error-codes"""
    if anthropic:
        inner = {"type": error.anthropic_type, "message": message}
        return ENCODER.encode({"type": "error", "error": inner, "request_id": "req_simulated"})
    return ENCODER.encode(
        {
            "error": {
                "message": message,
                "type": error.openai_type,
                "param": None,
                "code": error.openai_code,
            }
        }
    )


def model_list(models: Iterable[Model], anthropic: bool) -> bytes:
    rows = [_anthropic_row(each) if anthropic else _openai_row(each) for each in models]
    if not anthropic:
        return ENCODER.encode({"object": "list", "data": rows})
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    return ENCODER.encode({"data": rows, "has_more": False, "first_id": first, "last_id": last})


def _openai_row(model: Model) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": 0, "owned_by": "simulated"}


def _anthropic_row(model: Model) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.name,
        "display_name": f"{model.name} (simulated)",
        "created_at": f"{model.released}T00:00:00Z",
    }


def embeddings(model: str, texts: Sequence[str], wish: Embeddable) -> bytes:
    tokens = sum(tokens_of(text) for text in texts)
    rows = [
        {"object": "embedding", "index": index, "embedding": _vector(text, wish)}
        for index, text in enumerate(texts)
    ]
    usage: Mapping[str, int] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return ENCODER.encode({"object": "list", "data": rows, "model": model, "usage": usage})


def _vector(text: str, wish: Embeddable) -> list[float] | str:
    vector = embed(text, wish.dimensions or DIMENSIONS)
    if wish.encoding_format != "base64":
        return vector
    # Little-endian 32-bit floats, as every machine that this runs on has them.
    return base64.b64encode(array("f", vector).tobytes()).decode()
