"""Composes the whole answer of a simulated model, and cuts it into events. Knows no wire format."""

import base64
import hashlib
import json
from collections.abc import Iterator

from msgspec import Struct

from fairlead.outside.simulated.instances import Instances
from fairlead.outside.simulated.reading import Picker, Reading, clipped
from fairlead.outside.simulated.writing import Author
from fairlead.types.catalog import Model
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    FinishReason,
    ReasoningDelta,
    Request,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    Usage,
)
from fairlead.types.decision import Task

CHARS_PER_TOKEN = 4
PIECE_CHARS = 4 * CHARS_PER_TOKEN
"""How much of the answer one event of a stream carries."""


class Answer(Struct, frozen=True):
    id: str
    model: str
    usage: Usage
    reason: FinishReason
    text: str = ""
    reasoning: str = ""
    signature: str = ""
    """Closes ``reasoning``; empty when there is none."""
    calls: tuple[ToolCall, ...] = ()
    stop_sequence: str | None = None


def compose(request: Request, task: Task, model: Model) -> Answer:
    """The same model and messages give the same answer, streamed or not, in any dialect."""
    reading = Reading(request)
    fingerprint = hashlib.sha256(f"{model.name}\0{reading.whole}".encode()).hexdigest()
    picker = Picker(fingerprint)
    author = Author(model.name, model.strength, reading, picker)
    calls = _tool_calls(request, reading, picker, fingerprint)
    reasoning = _reasoning(request, model, author)
    text = "" if calls else _text(request, task, author)
    text, reason, stop_sequence = _cut(text, len(reasoning), request)
    written = reasoning + text + "".join(call.name + call.arguments for call in calls)
    return Answer(
        id=f"simulated{fingerprint[:16]}",
        model=model.name,
        usage=Usage(
            input_tokens=task.input_tokens,
            output_tokens=tokens_of(written),
            reasoning_tokens=tokens_of(reasoning),
        ),
        reason="tool_calls" if calls else reason,
        text=text,
        reasoning=reasoning,
        signature=base64.b64encode(fingerprint.encode()).decode() if reasoning else "",
        calls=calls,
        stop_sequence=stop_sequence,
    )


def events(answer: Answer) -> Iterator[Event]:
    usage = answer.usage
    yield Begin(id=answer.id, model=answer.model, usage=Usage(input_tokens=usage.input_tokens))
    for piece in _pieces(answer.reasoning):
        yield ReasoningDelta(text=piece)
    if answer.signature:
        yield ReasoningDelta(signature=answer.signature)
    for piece in _pieces(answer.text):
        yield TextDelta(piece)
    for index, call in enumerate(answer.calls):
        yield ToolCallDelta(index=index, id=call.id, name=call.name)
        for piece in _pieces(call.arguments):
            yield ToolCallDelta(index=index, arguments=piece)
    yield End(reason=answer.reason, usage=usage, stop_sequence=answer.stop_sequence)


def tokens_of(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS))


def _text(request: Request, task: Task, author: Author) -> str:
    output = request.output
    if output is None:
        return author.write(task.kind)
    if output.kind == "json_object":
        return json.dumps(author.fields(), ensure_ascii=False)
    value = Instances(author.reading, author.picker).of(output.schema)
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, spent_chars: int, request: Request) -> tuple[str, FinishReason, str | None]:
    """Ends the text at the first stop sequence, or where the tokens run out."""
    stops = [(text.find(stop), stop) for stop in request.stop if stop in text]
    at, stop = min(stops, default=(len(text), None))
    limit = len(text)
    if request.max_output_tokens is not None:
        limit = max(0, request.max_output_tokens * CHARS_PER_TOKEN - spent_chars)
    if limit < at:
        return text[:limit], "length", None
    return text[:at], "stop" if stop is None else "stop_sequence", stop


def _reasoning(request: Request, model: Model, author: Author) -> str:
    thinking = request.thinking
    if thinking is None or "reasoning" not in model.can:
        return ""
    if thinking.enabled is False or thinking.effort == "none":
        return ""
    if not (thinking.enabled or thinking.effort or thinking.budget_tokens):
        return ""
    weighed = "; then ".join(f"“{clipped(quote, 90)}”" for quote in author.quotes())
    return f"{author.mark} I look at {weighed}. The first of these explains the most."


def _tool_calls(
    request: Request, reading: Reading, picker: Picker, fingerprint: str
) -> tuple[ToolCall, ...]:
    chosen = _tools_to_call(request, reading)
    instances = Instances(reading, picker)
    return tuple(
        ToolCall(
            id=f"call_{fingerprint[16:28]}{number}",
            name=tool.name,
            arguments=json.dumps(instances.of(tool.schema), ensure_ascii=False),
        )
        for number, tool in enumerate(chosen)
    )


def _tools_to_call(request: Request, reading: Reading) -> tuple[Tool, ...]:
    """Named: that one. Required: those that the prompt names, else the one that fits best. Auto:
    those that the prompt names, unless their results are already there."""
    choice = request.tool_choice or ToolChoice()
    if choice.mode == "none":
        return ()
    if choice.mode == "named":
        return tuple(tool for tool in request.tools if tool.name == choice.name)
    asked = reading.asked
    named = [tool for tool in request.tools if tool.name in asked and not reading.tool_results]
    if not named and choice.mode == "required" and request.tools:
        named = [max(request.tools, key=lambda tool: _likeness(tool, asked))]
    return tuple(named if choice.parallel else named[:1])


def _likeness(tool: Tool, asked: str) -> int:
    """How many words the tool and the prompt share."""
    about = f"{tool.name.replace('_', ' ')} {tool.description}".lower().split()
    return len(set(about) & set(asked.lower().split()))
