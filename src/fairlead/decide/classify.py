"""Request -> Task: what it is about, how hard it is, what it needs. Knows no endpoint, no price.

Reads words, not meaning: the last user turn and the system prompt, each clipped to its two ends,
where instructions stand. The rest of the conversation is only measured.

``difficulty`` is the sum, held to 0..1, of

* the kind's base (``DIFFICULTY``),
* 0.05 for each ``hard`` point of the cues found, at most 0.3 (and 0.02 less if asked to be quick),
* 0.02 for each condition on the answer ("must", "exactly"), at most 0.08,
* 0.02 for each doubling of the input beyond 1,000 tokens, at most 0.12,
* what the thinking effort asked for adds (``EFFORT``).
"""

from collections.abc import Mapping, Sequence, Set

from msgspec import Struct

from fairlead.decide.cues import BRACE, CODE_BLOCK, CUES, FORMATTED, WORDS, Cue
from fairlead.types.chat import (
    Effort,
    Foreign,
    Image,
    Message,
    Part,
    Request,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from fairlead.types.decision import Task, TaskKind

CHARS_PER_TOKEN = 4.0
"""Of prose. Source code and data have more symbols: 3.3."""
CODE_DENSITY = 3.3 / 4.0
IMAGE_TOKENS = 1_000
FOREIGN_TOKENS = 1_500
"""For a document or a recording, whose length only its own dialect could tell."""
MESSAGE_TOKENS = 4
CLIP = 300
"""Characters kept of each end of a text."""
OPENING_WORDS, CLOSING_WORDS = 16, 12
"""Instructions stand first or last: there a word counts twice."""

DIFFICULTY: Mapping[TaskKind, float] = {
    "embed": 0.0,
    "classify": 0.1,
    "extract": 0.12,
    "chat": 0.15,
    "summarise": 0.22,
    "translate": 0.25,
    "draft": 0.3,
    "tool_use": 0.4,
    "code": 0.5,
    "mathematics": 0.5,
    "plan": 0.6,
    "reason": 0.6,
}
EFFORT: Mapping[Effort, float] = {
    "none": -0.05,
    "minimal": -0.03,
    "medium": 0.05,
    "high": 0.12,
    "xhigh": 0.18,
    "max": 0.22,
}
REASONING_TOKENS: Mapping[Effort, int] = {
    "low": 400,
    "medium": 1_500,
    "high": 4_000,
    "xhigh": 8_000,
    "max": 12_000,
}
ANSWER_TOKENS: Mapping[TaskKind, int] = {
    "classify": 10,
    "tool_use": 150,
    "chat": 200,
    "draft": 500,
    "mathematics": 500,
    "code": 700,
    "reason": 800,
    "plan": 900,
}
"""Expected length of answers that do not depend on the length of the input."""
ANSWER_SHARE: Mapping[TaskKind, tuple[float, int, int]] = {
    "summarise": (0.12, 60, 1_500),
    "extract": (0.10, 40, 1_500),
    "translate": (1.1, 20, 16_000),
}
"""Of those that do: share of the input, at least, at most."""
FOREIGN_MODALITY = {
    "document": "pdf",
    "file": "pdf",
    "input_file": "pdf",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
}
"""By the first dialect word of a foreign part's kind; other kinds need no modality."""

DENSE = 3
"""Signs of source code that make a text count as code when its tokens are estimated."""
WEIGHTY = -5
"""Weight from which a cue is shown even if it speaks for another kind than was settled on."""
DOUBT = 2
"""Points up to which no kind is believed, and the request is taken for chat."""
TOOLS_OUTWEIGHED = 4
"""Points up to which a request with tools is taken for a step of their use."""


class Evidence(Struct):
    """What the words of a request say."""

    points: dict[TaskKind | None, int] = {}
    hard: int = 0
    limits: int = 0
    signs_of_code: int = 0
    cues: list[tuple[int, str, TaskKind | None]] = []
    """Weight (negative, so that sorting puts the strongest first), words, kind."""


class Seen(Struct):
    """What one walk over a request measures."""

    characters: int = 0
    images: int = 0
    image_bytes: int = 0
    foreign: int = 0
    turns: int = 0
    tool_parts: bool = False
    modalities: set[str] = set()
    system: Message | None = None
    user: Message | None = None


def classify(request: Request, chars_per_token: float = CHARS_PER_TOKEN) -> Task:
    """``chars_per_token`` is that of prose. The task of an embedding is its length."""
    if request.operation == "embed":
        return Task(
            kind="embed",
            difficulty=0.0,
            input_tokens=tokens_in(sum(map(len, request.inputs)), chars_per_token),
            output_tokens=0,
            needs=frozenset(("embed",)),
        )
    seen = _walk(request)
    evidence = _evidence(request, _clipped(seen.system), _clipped(seen.user))
    kind = _kind(request, evidence.points)
    density = CODE_DENSITY if evidence.signs_of_code >= DENSE else 1.0
    input_tokens = _input_tokens(request, seen, chars_per_token * density)
    return Task(
        kind=kind,
        difficulty=_difficulty(kind, evidence, input_tokens, request.thinking),
        input_tokens=input_tokens,
        output_tokens=_output_tokens(request, kind, input_tokens),
        needs=_needs(request, seen),
        cues=_shown(request, kind, evidence, input_tokens),
        turn=seen.turns or 1,
    )


def tokens_in(characters: int, chars_per_token: float) -> int:
    return int(characters / chars_per_token) + 1


def _walk(request: Request) -> Seen:
    seen = Seen()
    for message in request.messages:
        if message.role == "user":
            seen.turns += 1
            seen.user = message
        elif message.role == "system" and seen.system is None:
            seen.system = message
        for part in message.parts:
            if type(part) is Text:
                seen.characters += len(part.text)
            else:
                _measure(part, seen)
    return seen


def _measure(part: Part, seen: Seen) -> None:
    match part:
        case Image():
            seen.images += 1
            seen.image_bytes += len(part.data)
            seen.modalities.add("image")
        case ToolCall():
            seen.tool_parts = True
            seen.characters += len(part.name) + len(part.arguments)
        case ToolResult():
            seen.tool_parts = True
            for inner in part.parts:
                _measure(inner, seen)
        case Foreign():
            seen.foreign += 1
            if modality := FOREIGN_MODALITY.get(part.kind):
                seen.modalities.add(modality)
        case _:
            seen.characters += len(part.text)


def _clipped(message: Message | None) -> str:
    """Both ends of what a message says, in lower case."""
    if message is None:
        return ""
    texts = [part.text for part in message.parts if type(part) is Text]
    if not texts:
        return ""
    head, tail = texts[0], texts[-1]
    if len(texts) > 1 or len(head) > 2 * CLIP:
        head = f"{head[:CLIP]} {tail[-CLIP:]}"
    return head.lower()


def _evidence(request: Request, system: str, user: str) -> Evidence:
    words = user.split()
    edges = WORDS.intersection(words[:OPENING_WORDS] + words[-CLOSING_WORDS:])
    hits = WORDS.intersection(words)
    if system:
        hits |= WORDS.intersection(system.split())
        user = f"{system} {user}"
    by_word = {cue.word: cue for cue in [CUES[hit] for hit in hits]}
    found = list(by_word.values())
    found += [phrase for cue in found for phrase in cue.phrases if phrase.word in user]
    # One character is found ten times faster than three, and most texts have no backtick.
    if "`" in user and "```" in user:
        found.append(CODE_BLOCK)
    if "{" in user:
        found.append(BRACE)
    if request.output is not None:
        found.append(FORMATTED)
    return _weighed(found, {CUES[edge].word for edge in edges})


def _weighed(found: Sequence[Cue], strong: Set[str]) -> Evidence:
    evidence = Evidence()
    points, cues = evidence.points, evidence.cues
    for cue in found:
        worth = cue.points * 2 if cue.word in strong else cue.points
        points[cue.kind] = points.get(cue.kind, 0) + worth
        evidence.hard += cue.hard
        evidence.limits += cue.limits
        evidence.signs_of_code += cue.signs_of_code
        if worth or cue.hard:
            cues.append((-worth - 2 * abs(cue.hard), cue.word, cue.kind))
    return evidence


def _kind(request: Request, points: Mapping[TaskKind | None, int]) -> TaskKind:
    if request.messages and request.messages[-1].role == "tool":
        return "tool_use"
    best: TaskKind = "tool_use" if request.tools else "chat"
    most = TOOLS_OUTWEIGHED if request.tools else DOUBT
    # From easy to hard: of equals the easier kind is believed.
    for kind in DIFFICULTY:
        found = points.get(kind, 0)
        if found > most:
            best, most = kind, found
    return best


def _difficulty(
    kind: TaskKind, evidence: Evidence, input_tokens: int, thinking: Thinking | None
) -> float:
    hard = evidence.hard
    difficulty = DIFFICULTY[kind]
    difficulty += min(0.05 * hard, 0.3) if hard >= 0 else -0.02
    difficulty += min(0.02 * evidence.limits, 0.08)
    difficulty += min(0.02 * (input_tokens // 1_000).bit_length(), 0.12)
    if thinking is not None and thinking.effort is not None:
        difficulty += EFFORT.get(thinking.effort, 0.0)
    return min(max(difficulty, 0.0), 1.0)


def _input_tokens(request: Request, seen: Seen, chars_per_token: float) -> int:
    characters = seen.characters
    if request.tools:
        # What the body holds beyond messages is mostly tool schemas; measuring it costs nothing.
        described = sum([len(tool.name) + len(tool.description) for tool in request.tools])
        characters += max(described, len(request.body) - characters - seen.image_bytes)
    return (
        tokens_in(characters, chars_per_token)
        + MESSAGE_TOKENS * len(request.messages)
        + IMAGE_TOKENS * seen.images
        + FOREIGN_TOKENS * seen.foreign
    )


def _output_tokens(request: Request, kind: TaskKind, input_tokens: int) -> int:
    if request.operation == "count":
        return 0
    if kind in ANSWER_SHARE:
        share, least, most = ANSWER_SHARE[kind]
        expected = min(max(int(share * input_tokens), least), most)
    else:
        expected = ANSWER_TOKENS[kind]
    thinking = request.thinking
    if thinking is not None:
        if thinking.budget_tokens is not None:
            expected += thinking.budget_tokens // 2
        elif thinking.effort is not None:
            expected += REASONING_TOKENS.get(thinking.effort, 0)
    asked = request.max_output_tokens
    return expected if asked is None else min(expected, asked)


def _needs(request: Request, seen: Seen) -> frozenset[str]:
    needs = seen.modalities
    if request.tools or seen.tool_parts:
        needs.add("tools")
    choice = request.tool_choice
    if choice is not None and choice.mode in ("required", "named"):
        needs.add("forced_tools")
    if request.output is not None:
        needs.add(request.output.kind)
    if request.thinking is not None and _asks_to_reason(request.thinking):
        needs.add("reasoning")
    return frozenset(needs)


def _asks_to_reason(thinking: Thinking) -> bool:
    """Whether a model that cannot reason would break the request; less effort it can give."""
    if thinking.enabled is not None:
        return thinking.enabled
    return bool(thinking.budget_tokens) or thinking.effort in REASONING_TOKENS


def _shown(
    request: Request, kind: TaskKind, evidence: Evidence, input_tokens: int
) -> tuple[str, ...]:
    """The few cues that weigh most, for people."""
    shown = [
        words
        for weight, words, of_kind in sorted(evidence.cues)
        if of_kind == kind or weight <= WEIGHTY
    ][:3]
    if request.tools:
        shown.append(f"{len(request.tools)} tools")
    elif input_tokens >= 8_000:
        shown.append(f"{input_tokens:,} tokens of input")
    return tuple(shown)
