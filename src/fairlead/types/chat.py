"""What a caller asks and what a model answers, in no vendor's dialect. Knows no wire format.

Values only: two equal conversations are equal. What a dialect has and we lack is carried, never
interpreted: on a part in ``extra``, whole as a ``Foreign`` part, on a request by name in ``bound``
(only its own dialect can honour it) or ``loose`` (a crossing leaves it behind and reports it).

What there are thousands of is no matter for the cycle collector (``gc=False``): a value made of
JSON holds no cycle, and to look through long conversations took a fifth of a busy gateway's CPU.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

NOTHING: Mapping[str, Any] = {}

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal[
    "stop", "stop_sequence", "length", "tool_calls", "content_filter", "refusal", "pause"
]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Text(Struct, frozen=True, gc=False, tag="text"):
    text: str
    extra: Mapping[str, Any] = NOTHING
    """Vendor fields of the part, such as ``cache_control``."""


class Image(Struct, frozen=True, gc=False, tag="image"):
    """Exactly one of ``data`` (base64, with ``media_type``) and ``url`` is set."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    extra: Mapping[str, Any] = NOTHING


class Reasoning(Struct, frozen=True, gc=False, tag="reasoning"):
    """Thinking that a model showed. ``signature`` must be echoed verbatim to the same vendor."""

    text: str
    signature: str = ""
    redacted: bool = False
    """True: ``signature`` holds the vendor's encrypted block and ``text`` is empty."""


class ToolCall(Struct, frozen=True, gc=False, tag="tool_call"):
    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it. May be malformed: it is passed on, never repaired."""
    extra: Mapping[str, Any] = NOTHING


class ToolResult(Struct, frozen=True, gc=False, tag="tool_result"):
    call_id: str
    parts: tuple[Text | Image, ...]
    is_error: bool = False
    extra: Mapping[str, Any] = NOTHING


class Foreign(Struct, frozen=True, gc=False, tag="foreign"):
    """A part that only the dialect it was written in understands (audio, documents, citations)."""

    kind: str
    value: Any


Part = Text | Image | Reasoning | ToolCall | ToolResult | Foreign


class Message(Struct, frozen=True, gc=False):
    role: Role
    parts: tuple[Part, ...]
    """``tool`` messages hold only ToolResult parts."""


class Tool(Struct, frozen=True, gc=False):
    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON Schema of the arguments object."""
    strict: bool | None = None
    extra: Mapping[str, Any] = NOTHING


class ToolChoice(Struct, frozen=True):
    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""
    """Set when ``mode`` is ``named``."""
    parallel: bool = True


class OutputFormat(Struct, frozen=True):
    """The answer must be JSON: any object, or one that fits ``schema``."""

    kind: Literal["json_object", "json_schema"]
    name: str = "answer"
    schema: Mapping[str, Any] = NOTHING
    strict: bool | None = None


class Thinking(Struct, frozen=True):
    """How much the caller wants the model to think; None means not said."""

    effort: Effort | None = None
    budget_tokens: int | None = None
    enabled: bool | None = None
    show: bool | None = None


class Narrowing(Struct, frozen=True):
    """What a request asks of its own route. It only ever narrows; None and empty mean no wish."""

    zones: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """Model or endpoint names; a trailing ``*`` matches any ending."""
    max_cost_nano_usd: int | None = None
    max_latency_ms: int | None = None
    """Longest acceptable expected time to the complete answer."""
    deadline_s: float | None = None
    """Give up this long after arrival."""


class Request(Struct, frozen=True):
    """One question to a model, or texts to embed, as parsed from a caller's dialect."""

    dialect: str
    model: str
    """What was asked for: a route, a model, or an endpoint."""
    body: bytes
    """The bytes as they came, for a same-dialect endpoint."""
    operation: Literal["chat", "embed", "count"] = "chat"
    messages: tuple[Message, ...] = ()
    inputs: tuple[str, ...] = ()
    """Texts to embed, when ``operation`` is ``embed``."""
    stream: bool = False
    include_usage: bool = False
    """The caller wants OpenAI's extra usage chunk at the end of a stream."""
    max_output_tokens: int | None = None
    answers: int = 1
    """So many at once (OpenAI's ``n``): each may be as long, and all are billed."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    output: OutputFormat | None = None
    thinking: Thinking | None = None
    narrowing: Narrowing = Narrowing()
    bound: tuple[str, ...] = ()
    """Fields in use that change the answer and exist only in this dialect (``n``, ``logprobs``)."""
    loose: tuple[str, ...] = ()
    """Fields in use that a crossing may leave behind, and reports (``user``, ``seed``)."""
    headers: Mapping[str, str] = NOTHING
    """Allowlisted headers that belong to the dialect (``anthropic-version``, ``-beta``)."""


class Usage(Struct, frozen=True, gc=False):
    """Tokens of one attempt. ``input_tokens`` counts every input token, cached ones included;
    ``output_tokens`` counts every output token, reasoning included."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_read_tokens: int = 0
    cached_write_tokens: int = 0
    cached_write_1h_tokens: int = 0
    """The part of ``cached_write_tokens`` written for one hour (Anthropic)."""
    reasoning_tokens: int = 0


class Begin(Struct, frozen=True):
    """The endpoint has accepted and starts to answer. Does not commit the gateway to it."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None


class TextDelta(Struct, frozen=True, gc=False):
    text: str


class ReasoningDelta(Struct, frozen=True, gc=False):
    """A piece of thinking; a ``signature`` closes the block it belongs to."""

    text: str = ""
    signature: str = ""
    redacted: bool = False


class ToolCallDelta(Struct, frozen=True, gc=False):
    """A piece of tool call number ``index`` (from 0, dense). ``id`` and ``name`` are set on the
    first piece only; ``arguments`` are to be concatenated."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Passed(Struct, frozen=True, gc=False):
    """Bytes of the caller's own dialect, to be written as they are."""

    data: bytes
    commits: bool = True
    """False while no content, tool call or terminal is in them: failover is still free."""


class End(Struct, frozen=True):
    """The answer is complete: the positive terminal. ``usage`` is None when none was reported."""

    reason: FinishReason
    usage: Usage | None
    stop_sequence: str | None = None
    data: bytes = b""
    """When passing bytes through: the terminal frames themselves."""


class Resumed(Struct, frozen=True):
    """The attempt that answered broke off; what follows is another's, and goes on where it was."""

    passed: bytes = b""
    """All that was passed on of the answer, where it is to be gone on with in other words."""
    by: str = ""
    """The endpoint that goes on."""


Event = Begin | TextDelta | ReasoningDelta | ToolCallDelta | Passed | Resumed | End
