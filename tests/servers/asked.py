"""Reads what an upstream was asked out of either dialect's body, so that one assertion serves
both."""

import json
from typing import Any

Body = dict[str, Any]


def parts_of(message: Body) -> list[Any]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def text_of(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    return "".join(part.get("text", "") for part in parts or [])


def system(body: Body) -> str:
    if "system" in body:
        return text_of(body["system"])
    return "".join(
        text_of(message["content"])
        for message in body["messages"]
        if message["role"] in ("system", "developer")
    )


def images(body: Body) -> list[tuple[str, str]]:
    """Media type and base64 data of each."""
    found = []
    for part in (part for message in body["messages"] for part in parts_of(message)):
        if part["type"] == "image_url":
            kind, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
            found.append((kind, data))
        elif part["type"] == "image":
            found.append((part["source"]["media_type"], part["source"]["data"]))
    return found


def tools(body: Body) -> list[tuple[str, str, Any]]:
    """Name, description and schema of each."""
    return [
        (f["name"], f["description"], f.get("parameters") or f.get("input_schema"))
        for f in (tool.get("function", tool) for tool in body["tools"])
    ]


def calls(body: Body) -> list[tuple[str, str, Any]]:
    """Id, name and arguments of every tool call in the conversation."""
    openai = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for message in body["messages"]
        for call in message.get("tool_calls") or []
    ]
    anthropic = [
        (part["id"], part["name"], part["input"])
        for message in body["messages"]
        for part in parts_of(message)
        if part["type"] == "tool_use"
    ]
    return openai + anthropic


def results(body: Body) -> list[tuple[str, str]]:
    """Call id and text of every tool result."""
    openai = [
        (message["tool_call_id"], text_of(message["content"]))
        for message in body["messages"]
        if message["role"] == "tool"
    ]
    anthropic = [
        (part["tool_use_id"], text_of(part["content"]))
        for message in body["messages"]
        for part in parts_of(message)
        if part["type"] == "tool_result"
    ]
    return openai + anthropic


def schema(body: Body) -> Any:
    """Of the JSON answer."""
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    return body["output_config"]["format"]["schema"]


def stops(body: Body) -> list[str]:
    found = body.get("stop") or body.get("stop_sequences") or []
    return [found] if isinstance(found, str) else list(found)


def longest_answer(body: Body) -> int | None:
    found = body.get("max_completion_tokens") or body.get("max_tokens")
    return None if found is None else int(found)


def choice(body: Body) -> tuple[str, str]:
    """Tool choice as a mode (auto, none, required, named) and a name."""
    found = body.get("tool_choice", "auto")
    if isinstance(found, str):
        return found, ""
    name = found.get("name") or found.get("function", {}).get("name", "")
    modes = {"any": "required", "tool": "named", "function": "named"}
    return modes.get(found["type"], found["type"]), name


def parallel(body: Body) -> bool:
    if "parallel_tool_calls" in body:
        return bool(body["parallel_tool_calls"])
    found = body.get("tool_choice")
    return not (isinstance(found, dict) and found.get("disable_parallel_tool_use"))


def thinks(body: Body) -> bool:
    return any(
        body.get(field) for field in ("thinking", "reasoning_effort", "reasoning")
    ) or "effort" in (body.get("output_config") or {})
