"""A caller's body: understood or refused with a reason, in every dialect; and what is understood is
classified, and can be said to an endpoint or is refused with a reason."""

import json

import msgspec

from fairlead.decide.classify import classify
from fairlead.dialects import DIALECTS
from fairlead.types.catalog import Endpoint, Model
from fairlead.types.errors import BadRequest
from fuzz.inputs import golden, made

SEEDS = [
    *golden("openai_chat", "request_*/wire.json"),
    *golden("anthropic_messages", "request_*/wire.json"),
    *made("requests"),
]

MAX_BYTES = 1024
HEADERS = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}
THINKER = Model("m", can=frozenset({"system", "stream", "tools", "reasoning", "sampling"}))
PLAIN = Model("m", can=frozenset({"tools", "stream"}))


def _endpoint(dialect: str, model: Model) -> Endpoint:
    name = "vendor/m"
    return Endpoint(name, "vendor", model, "m-1", dialect, base_url="http://127.0.0.1/v1")


ENDPOINTS = [
    _endpoint(dialect, model)
    for dialect in ("openai_chat", "anthropic_messages")
    for model in (THINKER, PLAIN)
]


def check(data: bytes) -> None:
    for dialect in DIALECTS.values():
        try:
            request = dialect.parse_request(data, HEADERS)
        except BadRequest as error:
            msgspec.json.decode(dialect.render_error(error, "r1"))
            continue
        task = classify(request)
        assert task.input_tokens >= 0
        assert task.output_tokens >= 0
        own = _endpoint(request.dialect, THINKER)
        for endpoint in [own] if request.operation == "embed" else [own, *ENDPOINTS]:
            try:
                rendered = DIALECTS[endpoint.dialect].render_request(request, endpoint, 100)
            except BadRequest:
                continue
            # Not msgspec: numbers beyond a double are passed on as they are.
            said = json.loads(rendered.body)
            assert said["model"] == "m-1", "another model is asked"
