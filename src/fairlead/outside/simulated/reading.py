"""What a simulated model makes out of a prompt: its instruction, its material, what stands in it.

Deliberately shallow: patterns and lines, enough to answer with something true from the text.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from fairlead.types.chat import Message, Request, Text, ToolCall, ToolResult

T = TypeVar("T")

PATTERNS: Mapping[str, re.Pattern[str]] = {
    "email": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "timestamp": re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?"),
    "date": re.compile(r"\b\d{4}-\d\d-\d\d\b"),
    "time": re.compile(r"\b[0-2]\d:[0-5]\d(?::[0-5]\d)?\b"),
    "ip": re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
    "url": re.compile(r"https?://[^\s\"'<>)]*[^\s\"'<>),.;:]"),
    "version": re.compile(r"\bv?\d+\.\d+\.\d+\b(?!\.)"),
    "customer": re.compile(r"\b(?:customer|account|user) (\d+)\b"),
    "id": re.compile(r"\b[A-Z]{2,6}-\d+\b|\b(?:req|txn|ord|cus)_\w+"),
    "percent": re.compile(r"\b\d+(?:\.\d+)?\s?%"),
    "amount": re.compile(r"(?:[$€£]|EUR |USD )\d[\d,]*(?:\.\d\d)?"),
    "duration": re.compile(r"\b\d+(?:\.\d+)?\s?(?:ms|s|seconds|min|minutes|h|hours)\b"),
    "service": re.compile(r"\b[a-z]{3,}(?:-[a-z]{2,})+\b(?!@)"),
}
WINDOW_CHARS = 24_000
"""How much of either end of a long text is searched for patterns."""

MARK = re.compile(r"\[simulated [\w.-]+\]\s*")
"""An answer may be quoted in the next prompt; that it was simulated is no news then."""
DECORATION = re.compile(r"^(?:[-*>\s]|\d+[x.]\s)+")
"""What sets a quoted line apart where it stood before."""
ALARMING = ("FATAL", "CRITICAL", "ERROR", "PANIC", "Traceback")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])|\n+(?=\s*(?:[-*>]|\d+[.)])\s)|\n\n")
FENCE = re.compile(r"```[\w-]*\n(.*?)```", re.DOTALL)
LABELS = re.compile(
    r"(?:one of|labels?|categor(?:y|ies)|options?|classes|either)\b[^:\n]{0,40}?:?\s+"
    r"((?:[\"'`]?[\w/ -]{1,24}[\"'`]?\s*(?:,|\||\bor\b)\s*)+[\"'`]?[\w/-]{1,24}[\"'`]?)",
    re.IGNORECASE,
)
SEPARATOR = re.compile(r"\s*(?:,|\||\bor\b)\s*")
DIGITS = re.compile(r"[0-9a-f]*\d[0-9a-f]*")


class Picker:
    """The same seeds, the same picks: what a simulated model has instead of temperature."""

    def __init__(self, *seeds: str) -> None:
        self._state = hashlib.sha256("\0".join(seeds).encode()).digest()

    def below(self, limit: int) -> int:
        self._state = hashlib.sha256(self._state).digest()
        return int.from_bytes(self._state[:8], "big") % limit

    def one_of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]


class Reading:
    """One prompt, read. Everything is found on demand."""

    def __init__(self, request: Request) -> None:
        self._messages = request.messages

    @cached_property
    def asked(self) -> str:
        """The last thing that the user said."""
        users = [message for message in self._messages if message.role == "user"]
        return MARK.sub("", text_of(users[-1])) if users else ""

    @cached_property
    def whole(self) -> str:
        return "\n\n".join(text_of(message) for message in self._messages)

    @cached_property
    def instruction(self) -> str:
        """The part of ``asked`` that says what to do."""
        return self.asked.split("\n\n", 1)[0].strip()

    @cached_property
    def material(self) -> str:
        """The part of ``asked`` to do it with; all of it when nothing sets them apart."""
        _, _, rest = self.asked.partition("\n\n")
        return rest.strip() or self.asked.strip()

    @cached_property
    def code(self) -> str:
        """The first fenced block, or empty."""
        fenced = FENCE.search(self.asked)
        return fenced[1] if fenced else ""

    @cached_property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """Those that the model is expected to answer now."""
        last = self._messages[-1] if self._messages else None
        results = last.parts if last is not None else ()
        return tuple(part for part in results if isinstance(part, ToolResult))

    @cached_property
    def found(self) -> Mapping[str, tuple[str, ...]]:
        """What stands in the material, by kind of thing, each once, in order."""
        text = self.material
        if len(text) > 2 * WINDOW_CHARS:
            text = text[:WINDOW_CHARS] + "\n" + text[-WINDOW_CHARS:]
        hits = {kind: dict.fromkeys(each.findall(text)) for kind, each in PATTERNS.items()}
        return {kind: tuple(each) for kind, each in hits.items()}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The classes that the prompt offers."""
        offered = LABELS.search(self.asked[:WINDOW_CHARS])
        if offered is None:
            return ()
        return tuple(label.strip(" \"'`") for label in SEPARATOR.split(offered[1]) if label)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Whole sentences of the material's beginning."""
        told = SENTENCE.split(self.material[:WINDOW_CHARS])
        bare = (DECORATION.sub("", " ".join(each.split())) for each in told)
        return tuple(each for each in bare if len(each) > 20)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.material.splitlines())

    @cached_property
    def alarms(self) -> tuple[tuple[str, int], ...]:
        """Alarming lines with how often each occurs but for its numbers, most frequent first."""
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for line in self.lines:
            if any(word in line for word in ALARMING):
                shape = DIGITS.sub("#", DECORATION.sub("", line))
                counts[shape] += 1
                first.setdefault(shape, DECORATION.sub("", line).strip())
        return tuple((first[shape], count) for shape, count in counts.most_common())

    def notable(self, count: int) -> tuple[str, ...]:
        """The lines or sentences worth quoting, as they stand."""
        if self.alarms:
            return tuple(line for line, _ in self.alarms[:count])
        return tuple(clipped(sentence) for sentence in self.sentences[:count])


def text_of(message: Message) -> str:
    return "\n".join(part_text(part) for part in message.parts)


def part_text(part: object) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, ToolCall):
        return f"{part.name} {part.arguments}"
    if isinstance(part, ToolResult):
        return "\n".join(each.text for each in part.parts if isinstance(each, Text))
    return ""


def clipped(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
