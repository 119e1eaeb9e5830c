"""Code that a simulated model writes and reviews: templates, with names taken from the prompt."""

import re
from collections.abc import Mapping

from msgspec import Struct

from fairlead.outside.simulated.reading import clipped

NAMED = re.compile(r"(?:function|method|script|query|def)\s+(?:called |named )?[`\"']?(\w{3,})\b")
QUOTED = re.compile(r"`(\w{3,})(?:\([^`]*\))?`")
AIM = re.compile(r"\b(?:that|which|to) ([^.:]+)", re.DOTALL)
WORDS = re.compile(r"[a-z]{4,}")
NOT_NAMES = frozenset(
    {
        *("write", "function", "python", "script", "that", "code", "which", "with", "from"),
        *("please", "small", "typescript", "javascript", "bash", "shell", "query", "create"),
    }
)


class Template(Struct, frozen=True):
    fence: str
    text: str
    """``{name}`` and ``{Words}`` are filled in."""


TEMPLATES: Mapping[str, Template] = {
    "sql": Template(
        "sql",
        "-- {words}\nSELECT date_trunc('minute', happened_at) AS minute,\n"
        "       count(*) FILTER (WHERE failed) AS failures,\n       count(*) AS total\n"
        "  FROM {name}\n WHERE happened_at >= now() - interval '2 hours'\n"
        " GROUP BY 1\n ORDER BY 1;",
    ),
    "bash": Template(
        "bash",
        "#!/usr/bin/env bash\n# {words}\nset -euo pipefail\n\n{name}() {{\n"
        '  local target="${{1:?which target}}"\n  local attempt\n'
        "  for attempt in 1 2 3; do\n"
        '    if curl --fail --silent --max-time 5 "$target"; then\n      return 0\n    fi\n'
        '    sleep "$attempt"\n  done\n  echo "no answer from $target" >&2\n  return 1\n}}\n\n'
        '{name} "$@"',
    ),
    "typescript": Template(
        "typescript",
        "/** {words} */\nexport function {name}(\n"
        "  records: ReadonlyArray<Entry>,\n  limit = 5,\n): Entry[] {{\n"
        "  const seen = new Map<string, Entry>();\n  for (const entry of records) {{\n"
        "    const known = seen.get(entry.key);\n"
        "    if (known === undefined || known.at < entry.at) seen.set(entry.key, entry);\n  }}\n"
        "  return [...seen.values()].sort((a, b) => b.at - a.at).slice(0, limit);\n}}\n\n"
        "interface Entry {{\n  key: string;\n  at: number;\n}}",
    ),
    "python": Template(
        "python",
        "from collections import deque\nfrom collections.abc import Iterable\n\n\n"
        "def {name}(\n    samples: Iterable[tuple[float, bool]], window_s: float = 60.0\n"
        ") -> list[float]:\n"
        '    """{words}.\n\n    Takes (time, failed) pairs in order of time; gives the share of\n'
        '    failures within the window that ends at each sample.\n    """\n'
        "    recent: deque[tuple[float, bool]] = deque()\n    failures = 0\n"
        "    shares: list[float] = []\n    for at, failed in samples:\n"
        "        recent.append((at, failed))\n        failures += failed\n"
        "        while recent[0][0] < at - window_s:\n"
        "            failures -= recent.popleft()[1]\n"
        "        shares.append(failures / len(recent))\n    return shares",
    ),
}
"""By a word in the instruction; the last is what it writes when none is named."""


def write_code(instruction: str) -> str:
    """A fenced block with a function (or query) named by the instruction."""
    lowered = instruction.lower()
    language = next((word for word in TEMPLATES if word in lowered), "python")
    template = TEMPLATES[language]
    aim = AIM.search(instruction)
    words = clipped(" ".join((aim[1] if aim else instruction).split()), 84).rstrip(" .,:")
    words = words[:1].upper() + words[1:].replace("`", "").replace('"', "")
    text = template.text.format(name=function_name(instruction), words=words)
    return f"```{template.fence}\n{text}\n```"


def function_name(instruction: str) -> str:
    quoted = QUOTED.search(instruction) or NAMED.search(instruction)
    if quoted is not None and quoted[1].isidentifier():
        return quoted[1]
    words = [word for word in WORDS.findall(instruction.lower()) if word not in NOT_NAMES]
    return "_".join(words[:3]) or "simulated"


FINDINGS: tuple[tuple[str, str], ...] = (
    (r"except Exception|except:|catch \(", "catches more than it can handle"),
    (r"\bwhile\b", "the loop ends only if the data behaves; say why it does"),
    (r"\[0\]|\[-1\]", "fails on an empty sequence"),
    (r" / ", "check that the divisor cannot be zero"),
    (r"sleep|timeout|max-time|window_s", "the limit is a bare number; name it or take it as input"),
    (r"float|double", "floats compare inexactly at the edge of the window"),
    (r"\bdef |function |\(\) \{|SELECT", "no test shows what it does at its limits"),
    (r"append|push|set\(", "grows with its input; is there a bound?"),
)
"""What to look for in a line, and what to say about it."""


def review(code: str, attention: int) -> str:
    """Remarks on real lines of the code, each with its number."""
    remarks = []
    for pattern, remark in FINDINGS:
        for number, line in enumerate(code.splitlines(), 1):
            if re.search(pattern, line):
                remarks.append((number, f"- line {number} `{line.strip()[:70]}`: {remark}"))
                break
    listed = [text for _, text in sorted(remarks)][:attention]
    verdict = "Sound in the main; before it goes out:" if listed else "Nothing to object to."
    return "\n".join((verdict, *listed))
