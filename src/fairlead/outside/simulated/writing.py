"""The prose of a simulated model, one writer for each kind of task. Knows no wire format."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from fairlead.outside.simulated.coding import review, write_code
from fairlead.outside.simulated.reading import Picker, Reading, clipped, part_text
from fairlead.types.decision import TaskKind


class Author:
    """One simulated model about to answer one prompt. The stronger, the more it notices."""

    def __init__(self, model: str, strength: float, reading: Reading, picker: Picker) -> None:
        self.model = model
        self.reading = reading
        self.picker = picker
        self.attention = 2 + round(strength * 4)
        """How many things it picks up."""

    @property
    def mark(self) -> str:
        return f"[simulated {self.model}]"

    def quotes(self) -> tuple[str, ...]:
        return self.reading.notable(self.attention) or (clipped(self.reading.asked.strip()),)

    def services(self) -> tuple[str, ...]:
        return self.reading.found["service"][: self.attention] or ("the service",)

    def write(self, kind: TaskKind) -> str:
        """The answer, marked as simulated where that does not spoil it for a machine."""
        text = WRITERS[kind](self)
        if kind in ("classify", "code"):
            return f"{text}\n\n{self.mark}"
        return text if kind == "extract" else f"{self.mark} {text}"

    def fields(self) -> dict[str, Any]:
        """What stands in the prompt, as an extraction would give it."""
        found = {f"{kind}s": list(hits) for kind, hits in self.reading.found.items() if hits}
        return {**found, "simulated_by": self.model}


def _extract(author: Author) -> str:
    return json.dumps(author.fields(), indent=2, ensure_ascii=False)


URGENT = re.compile(r"\b(?:down|outage|all customers|critical|503|data loss)\b")


def _classify(author: Author) -> str:
    labels = author.reading.labels or ("other", "normal", "urgent")
    material = author.reading.material.lower()
    counts = [material.count(label.lower()) for label in labels]
    if len(set(counts)) > 1:
        return labels[counts.index(max(counts))]
    if author.reading.alarms or URGENT.search(material):
        return labels[0]
    return author.picker.one_of(labels)


def _summarise(author: Author) -> str:
    reading = author.reading
    if not reading.alarms:
        return "In short:\n" + _bullets(author.quotes())
    total = sum(count for _, count in reading.alarms)
    counted = [f"{count}x {clipped(line)}" for line, count in reading.alarms[: author.attention]]
    span = reading.found["timestamp"]
    when = f", from {span[0]} to {span[-1]}" if span else ""
    return (
        f"The log has {len(reading.lines):,} lines{when}; {total:,} of them are errors of "
        f"{len(reading.alarms)} kind(s).\n\nMost frequent, first occurrence quoted:\n"
        f"{_bullets(tuple(counted))}\n\nThe first error line is the likeliest place to start:\n"
        f"> {_first_alarm(reading)}"
    )


def _first_alarm(reading: Reading) -> str:
    alarming = {line for line, _ in reading.alarms}
    return next((line for line in reading.lines if line in alarming), reading.alarms[0][0])


CHANGED = re.compile(
    r"([a-z]{3,}(?:-[a-z]{2,})+)[^.\n]{0,40}\b(?:deployed|released|changed|rolled out|upgraded)"
)
"""A service that something was done to: the usual suspect."""


CAUSE = "Most likely cause: a change in {suspect} that {others} then suffered from."
VERDICT = "Yes, on one condition: {suspect} goes back first, and {others} only once it is quiet."


def _reason(author: Author) -> str:
    quotes = author.quotes()
    services = author.services()
    changed = CHANGED.search(author.reading.material)
    suspect = changed[1] if changed and changed[1] in services else services[0]
    others = " and ".join([each for each in services if each != suspect][:2]) or "its callers"
    doubt = author.picker.one_of(("clock skew", "a cold cache", "a noisy neighbour"))
    weighing = "whether" in author.reading.instruction.lower()
    opening = VERDICT if weighing else CAUSE
    return (
        f"{opening.format(suspect=suspect, others=others)}\n\n"
        f"What supports it:\n{_bullets(quotes)}\n\n"
        f"Step by step: {suspect} is the first to misbehave, the others follow after it and only "
        f"where they call it; nothing here shows trouble before that moment. "
        f"What would contradict it: errors in {others} that are older than the first quoted line. "
        f"I considered {doubt} as well, but it would not explain the order of events.\n\n"
        f"Next check: undo the last change to {suspect} in one place and watch whether the "
        f"errors stop there and nowhere else."
    )


def _plan(author: Author) -> str:
    services = author.services()
    first = services[0]
    last = services[-1]
    steps = (
        f"Freeze deployments that touch {first}. Owner: incident lead. Done when the lock shows.",
        f"Undo the last change to {first} in one zone. Owner: on call. Done when its errors stop.",
        f"Compare error rates of {last} before and after. Stop here if they do not move.",
        f"Undo the change everywhere, zone by zone, ten minutes apart. Watch {last}.",
        "Drain what has queued up, oldest first, at half the usual rate.",
        "Tell customers what happened and what they need to do, which should be nothing.",
        "Write down the timeline while it is fresh; agree on the review's date.",
    )
    wanted = steps[: author.attention + 1]
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(wanted, 1))
    return f"Plan, in order, each step reversible:\n\n{numbered}"


def _draft(author: Author) -> str:
    quotes = author.quotes()
    return (
        f"Subject: {clipped(quotes[0], 70)}\n\n"
        f"Hello,\n\nhere is where we stand.\n\n{_bullets(quotes[:4])}\n\n"
        f"What we are doing: the change behind it has been taken back and we are watching "
        f"{author.services()[0]} closely. You need not do anything.\n\n"
        f"The next update follows within the hour, or as soon as anything changes.\n\n"
        f"Kind regards\nIncident response"
    )


PHRASES: Mapping[str, tuple[str, str]] = {
    "german": (
        "Wir untersuchen derzeit eine Störung. Betroffen sind:",
        "Es gehen keine Daten verloren. Wir melden uns, sobald es Neues gibt.",
    ),
    "french": (
        "Nous analysons actuellement un incident. Sont concernés :",
        "Aucune donnée n'est perdue. Nous vous informerons dès qu'il y aura du nouveau.",
    ),
    "spanish": (
        "Estamos investigando una incidencia. Afecta a:",
        "No se pierden datos. Informaremos en cuanto haya novedades.",
    ),
}
"""It cannot translate: it opens and closes in the language and leaves what is between."""


def _translate(author: Author) -> str:
    instruction = author.reading.instruction.lower()
    language = next((name for name in PHRASES if name in instruction), "german")
    opening, closing = PHRASES[language]
    return f"{opening}\n{_bullets(author.quotes())}\n{closing}"


ARITHMETIC = re.compile(r"(\d+(?:\.\d+)?)\s*([-+*/x])\s*(\d+(?:\.\d+)?)")
OPERATIONS: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "x": lambda left, right: left * right,
    "/": lambda left, right: left / right if right else math.inf,
}


def _mathematics(author: Author) -> str:
    sums = ARITHMETIC.findall(author.reading.asked)
    if not sums:
        return "Given:\n" + _bullets(author.quotes()) + "\n\nThat leaves one unknown too many."
    lines = (
        f"{left} {sign} {right} = {OPERATIONS[sign](float(left), float(right)):g}"
        for left, sign, right in sums
    )
    return "Worked out:\n" + _bullets(tuple(lines))


def _code(author: Author) -> str:
    if author.reading.code and "review" in author.reading.instruction.lower():
        return review(author.reading.code, author.attention)
    return write_code(author.reading.instruction)


def _chat(author: Author) -> str:
    results = author.reading.tool_results
    if results:
        told = "\n".join(part_text(result) for result in results).splitlines()
        return "The tools report:\n" + _bullets(tuple(clipped(line) for line in told))
    quote = author.quotes()[0]
    opening = author.picker.one_of(("Understood.", "Here is what I make of it.", "In brief:"))
    return f"{opening} You ask about this: “{quote}” A simulated model can only repeat it back."


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)


WRITERS: Mapping[TaskKind, Callable[[Author], str]] = {
    "chat": _chat,
    "extract": _extract,
    "classify": _classify,
    "summarise": _summarise,
    "draft": _draft,
    "translate": _translate,
    "code": _code,
    "mathematics": _mathematics,
    "reason": _reason,
    "plan": _plan,
    "tool_use": _chat,
    "embed": _chat,
}
