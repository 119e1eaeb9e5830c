"""Asks one step's question through the vendors' own SDKs, unmodified. Knows no simulated provider.

Needs the ``demo`` extra: the ``openai`` and ``anthropic`` packages.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import anthropic
import openai
from msgspec import Struct

from fairlead.cli.demo.story import WORKFLOW, Step, ToolSpec

ERRORS = (openai.APIError, anthropic.APIError)
MAX_TOKENS = 4096
THINKING_TOKENS = 2048
NO_KEY = "none-needed-on-loopback"


class ToolUse(Struct, frozen=True):
    id: str
    name: str
    arguments: str


class Said(Struct, frozen=True):
    """What came back: the answer, and the response's headers."""

    text: str
    headers: Mapping[str, str]
    tool_use: ToolUse | None = None


class Asking(Struct, frozen=True):
    """A step, ready to be asked."""

    step: Step
    prompt: str
    earlier: "tuple[str, ToolUse] | None" = None
    """The prompt and the tool call that it continues."""

    @property
    def headers(self) -> dict[str, str]:
        names = {"x-fairlead-workflow": WORKFLOW, "x-fairlead-step": self.step.name}
        return {**names, "x-fairlead-zone": self.step.zone} if self.step.zone else names


class Clients:
    """Both SDKs, pointed at one gateway. Retries are the gateway's business, so theirs are off."""

    def __init__(self, address: str) -> None:
        self._openai = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=NO_KEY, max_retries=0)
        self._anthropic = anthropic.AsyncAnthropic(base_url=address, api_key=NO_KEY, max_retries=0)

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._openai.close()
        await self._anthropic.close()

    async def ask(self, asking: Asking) -> Said:
        """Raises one of ``ERRORS``."""
        if asking.step.texts:
            return await self._embed(asking)
        if asking.step.sdk == "anthropic":
            return await self._ask_anthropic(asking)
        return await self._ask_openai(asking)

    async def _embed(self, asking: Asking) -> Said:
        raw = await self._openai.embeddings.with_raw_response.create(
            model=asking.step.model,
            input=list(asking.step.texts),
            encoding_format="float",
            extra_headers=asking.headers,
        )
        first, *others = [row.embedding for row in raw.parse().data]
        likeness = [sum(a * b for a, b in zip(first, other, strict=True)) for other in others]
        nearest = likeness.index(max(likeness)) + 1
        return Said(asking.step.texts[nearest], raw.headers)

    async def _ask_openai(self, asking: Asking) -> Said:
        step = asking.step
        body: dict[str, Any] = {"model": step.model, "messages": _messages(asking)}
        if step.schema is not None:
            schema = {"name": step.name, "strict": True, "schema": step.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if step.tool is not None:
            body["tools"] = [_tool(step.tool)]
        create = self._openai.chat.completions.with_raw_response.create
        if step.stream:
            raw = await create(**body, stream=True, extra_headers=asking.headers)
            texts = [
                chunk.choices[0].delta.content or "" async for chunk in raw.parse() if chunk.choices
            ]
            return Said("".join(texts), raw.headers)
        raw = await create(**body, extra_headers=asking.headers)
        message = raw.parse().choices[0].message
        calls = [
            ToolUse(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        ]
        return Said(message.content or "", raw.headers, calls[0] if calls else None)

    async def _ask_anthropic(self, asking: Asking) -> Said:
        step = asking.step
        body: dict[str, Any] = {
            "model": step.model,
            "max_tokens": MAX_TOKENS,
            "messages": [{"role": "user", "content": asking.prompt}],
        }
        if step.think:
            body["thinking"] = {"type": "enabled", "budget_tokens": THINKING_TOKENS}
        create = self._anthropic.messages.with_raw_response.create
        if step.stream:
            raw = await create(**body, stream=True, extra_headers=asking.headers)
            texts = [
                event.delta.text
                async for event in await raw.parse()
                if event.type == "content_block_delta" and event.delta.type == "text_delta"
            ]
            return Said("".join(texts), raw.headers)
        raw = await create(**body, extra_headers=asking.headers)
        blocks = (await raw.parse()).content
        return Said("".join(block.text for block in blocks if block.type == "text"), raw.headers)


def _messages(asking: Asking) -> list[dict[str, Any]]:
    tool = asking.step.tool
    if asking.earlier is None or tool is None:
        return [{"role": "user", "content": asking.prompt}]
    prompt, use = asking.earlier
    function = {"name": use.name, "arguments": use.arguments}
    call = {"id": use.id, "type": "function", "function": function}
    return [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": use.id, "content": tool.result},
    ]


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}
