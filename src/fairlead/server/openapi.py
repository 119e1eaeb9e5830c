"""The API, described for programs: an OpenAPI 3.1 document, made from the tables that answer.

It says nothing of this gateway that docs/api.md does not say of all, so no key is asked for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fairlead.dialects import DIALECTS
from fairlead.dialects.anthropic_messages_wire import VERSIONS
from fairlead.dialects.wire import EXPLAIN, FOR_THE_RECORD, IN_HEADERS, YES_OR_NO
from fairlead.server import replays
from fairlead.server.paths import DIALECT_OF_PATH, METHODS
from fairlead.state.idempotency import LONGEST_KEY
from fairlead.types import errors
from fairlead.types.errors import CLIENT_VIEW, GatewayError

Schema = dict[str, Any]

API_VERSION = "1"
JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain"

MODEL = {"type": "string", "minLength": 1, "maxLength": 200}
TOKEN = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}

MESSAGES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {"role": {"type": "string"}},
    },
}
TEMPERATURE = {"type": ["number", "null"], "minimum": 0}
STREAM = {"type": ["boolean", "null"]}

REQUESTS: Mapping[str, Schema] = {
    "ChatRequest": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": MODEL,
            "messages": MESSAGES,
            "stream": STREAM,
            "temperature": TEMPERATURE,
            "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1},
            "metadata": {"type": ["object", "null"]},
        },
        "description": "OpenAI's Chat Completions; every field that it has may stand here.",
    },
    "EmbeddingsRequest": {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": MODEL,
            "input": {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "minLength": 1},
                    },
                    {"type": "array", "minItems": 1, "items": TOKEN},
                    {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "array", "minItems": 1, "items": TOKEN},
                    },
                ]
            },
        },
        "description": "OpenAI's Embeddings; every field that it has may stand here.",
    },
    "MessagesRequest": {
        "type": "object",
        "required": ["model", "messages", "max_tokens"],
        "properties": {
            "model": MODEL,
            "messages": MESSAGES,
            "max_tokens": COUNT,
            "stream": STREAM,
            "temperature": TEMPERATURE,
            "metadata": {"type": ["object", "null"]},
        },
        "description": "Anthropic's Messages; every field that it has may stand here.",
    },
    "CountRequest": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {"model": MODEL, "messages": MESSAGES},
        "description": "Anthropic's token count.",
    },
}

ANSWERS: Mapping[str, Schema] = {
    "ChatAnswer": {"type": "object", "required": ["id", "object", "choices"]},
    "EmbeddingsAnswer": {"type": "object", "required": ["object", "data"]},
    "MessagesAnswer": {"type": "object", "required": ["id", "type", "role", "content"]},
    "CountAnswer": {
        "type": "object",
        "required": ["input_tokens"],
        "properties": {"input_tokens": COUNT},
    },
    "Plan": {"type": "object"},
    "Models": {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}},
    },
    "Model": {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "string"}},
    },
    "Welcome": {"type": "object", "required": ["service"]},
    "Health": {"type": "object", "required": ["status"]},
}

REQUEST_ID = {"type": "string", "minLength": 1}
ERRORS: Mapping[str, Schema] = {
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code", "request_id", "should_retry"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                    "request_id": REQUEST_ID,
                    "should_retry": {"type": "boolean"},
                },
            }
        },
    },
    "AnthropicError": {
        "type": "object",
        "required": ["type", "error", "request_id"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message", "code", "should_retry"],
                "properties": {
                    "type": {"type": "string"},
                    "message": {"type": "string"},
                    "code": {"type": "string"},
                    "should_retry": {"type": "boolean"},
                },
            },
            "request_id": REQUEST_ID,
        },
    },
}

IDENTITY: Schema = {
    "x-fairlead-request-id": {
        "description": "Finds the request in the journal.",
        "required": True,
        "schema": REQUEST_ID,
    }
}
ON_ERRORS: Schema = {
    **IDENTITY,
    "x-should-retry": {
        "description": "Whether the same request may succeed if sent again.",
        "required": True,
        "schema": {"enum": ["true", "false"]},
    },
    "retry-after": {
        "description": "Seconds, where they are known.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
ON_ANSWERS: Schema = {
    **IDENTITY,
    **{
        f"x-fairlead-{name}": {"description": text, "schema": {"type": "string"}}
        for name, text in {
            "route": "The route that answered.",
            "model": "The model that answered.",
            "endpoint": "The endpoint that answered.",
            "reason": "Why that model was the first choice.",
            "attempts": "How many endpoints were asked.",
            "cost-usd": "What it cost, all attempts together, where prices are known.",
            "replayed": "This is the answer to that request, with the same idempotency-key.",
            "dropped": "Fields that crossing dialects left behind.",
        }.items()
    },
}

WISHES = [
    {
        "name": name,
        "in": "header",
        "description": f"Narrows what route and key allow: {wish.replace('_', ' ')}.",
        "schema": {"type": "string"},
    }
    for wish, name in IN_HEADERS.items()
]
NOTES = [
    {
        "name": name,
        "in": "header",
        "description": "With `1`, the JSON answer has headers and plan in an object `fairlead`."
        if name == EXPLAIN
        else "A name for the record.",
        "schema": {"enum": list(YES_OR_NO)} if name == EXPLAIN else {"type": "string"},
    }
    for name in FOR_THE_RECORD
]
VERSIONED = {
    "name": "anthropic-version",
    "in": "header",
    "description": "Without, the first of them.",
    "schema": {"enum": list(VERSIONS)},
}
ONCE = {
    "name": replays.HEADER,
    "in": "header",
    "description": "Whoever asks again with the same one gets the same answer.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_KEY,
        "pattern": "^[!-~]+$",
    },
}
DIALECT = {
    "name": "dialect",
    "in": "query",
    "description": "What the body is written in, if it does not tell.",
    "schema": {"enum": sorted(DIALECTS)},
}
NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}

OPERATIONS: Mapping[str, tuple[str, str, str, str]] = {
    "/": ("welcome", "What this is.", "", "Welcome"),
    "/healthz": ("health", "200 while the process runs.", "", "Health"),
    "/readyz": ("ready", "200 while new requests are welcome, else 503.", "", "Health"),
    "/metrics": ("metrics", "For Prometheus; from other machines with a key.", "", TEXT),
    "/openapi.json": ("describe", "This document.", "", "Document"),
    "/v1/models": ("models", "What this key may ask for.", "", "Models"),
    "/v1/models/{name}": ("model", "One of them.", "", "Model"),
    "/v1/route": ("plan", "The plan for a request; nothing is called.", "Any", "Plan"),
    "/v1/chat/completions": ("chat", "OpenAI's dialect.", "ChatRequest", "ChatAnswer"),
    "/v1/embeddings": ("embed", "OpenAI's dialect.", "EmbeddingsRequest", "EmbeddingsAnswer"),
    "/v1/messages": ("messages", "Anthropic's dialect.", "MessagesRequest", "MessagesAnswer"),
    "/v1/messages/count_tokens": ("count", "Anthropic's.", "CountRequest", "CountAnswer"),
}
"""By path: the operation's id, its summary, what it takes, what it answers."""

PARAMETERS: Mapping[str, list[Schema]] = {
    "/v1/models/{name}": [NAME],
    "/v1/route": [DIALECT, *WISHES],
    **{
        path: [*([VERSIONED] if dialect.startswith("anthropic") else []), ONCE, *WISHES, *NOTES]
        for path, dialect in DIALECT_OF_PATH.items()
    },
}
STREAMED = {"/v1/chat/completions", "/v1/messages"}
CLOSED = {"/metrics", "/v1/models", "/v1/models/{name}", "/v1/route"}
"""What takes a key, beside what spends money."""
CALLER_STATUSES = frozenset({400, 401, 403, 404, 405, 408, 413, 415, 431, 500, 503})
"""How an address fails that asks no model."""


def document() -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fairlead",
            "version": API_VERSION,
            "description": "Every model, in OpenAI's dialect and in Anthropic's.",
        },
        "paths": {path: {METHODS[path].lower(): _operation(path)} for path in METHODS},
        "components": {
            "schemas": {
                **REQUESTS,
                "Any": {"anyOf": [_ref("schemas", name) for name in REQUESTS]},
                **ANSWERS,
                "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
                **ERRORS,
            },
            "responses": {str(status): _failure(codes) for status, codes in _codes().items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(path: str) -> Schema:
    name, summary, takes, answers = OPERATIONS[path]
    costs = METHODS[path] == "POST" and path != "/v1/route"
    statuses = _codes().keys() if costs else CALLER_STATUSES
    operation: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": _success(path, answers, costs),
            **{str(status): _ref("responses", str(status)) for status in sorted(statuses)},
        },
    }
    if path == "/readyz":
        operation["responses"]["503"] = _success(path, answers, costs)
    if path in PARAMETERS:
        operation["parameters"] = PARAMETERS[path]
    if takes:
        body = {"schema": _ref("schemas", takes)}
        operation["requestBody"] = {"required": True, "content": {JSON: body}}
    if costs or path in CLOSED:
        operation["security"] = [{"bearer": []}, {"x-api-key": []}, {}]
    return operation


def _success(path: str, answers: str, costs: bool) -> Schema:
    if answers == TEXT:
        content: Schema = {TEXT: {"schema": {"type": "string"}}}
    else:
        content = {JSON: {"schema": _ref("schemas", answers)}}
    if path in STREAMED:
        content[EVENTS] = {"schema": {"type": "string"}}
    headers = {"headers": ON_ANSWERS} if costs else {}
    return {"description": "Well.", "content": content, **headers}


def _failure(codes: list[str]) -> Schema:
    either = {"anyOf": [_ref("schemas", name) for name in ERRORS]}
    return {
        "description": ", ".join(codes),
        "headers": ON_ERRORS,
        "content": {JSON: {"schema": either}},
    }


def _codes() -> dict[int, list[str]]:
    """Every status of an error, with the codes that it comes with."""
    codes: dict[int, set[str]] = {}
    for status, code in _errors():
        codes.setdefault(status, set()).add(code)
    return {status: sorted(codes[status]) for status in sorted(codes)}


def _errors() -> Iterator[tuple[int, str]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, GatewayError):
            yield kind.status, kind.code
    yield from CLIENT_VIEW.values()


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
