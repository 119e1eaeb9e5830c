"""The table of the wall in docs/faults.md: what each fault must lead to, and whether it did."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from prove.expected import Answered, Expect, Expected, expected
from prove.faults import Fault
from prove.wall import Result

DOCUMENT = Path(__file__).parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- the wall: written by make prove -->", "<!-- end of the wall -->"
HEAD = (
    "| fault | the endpoint | is taken for | with another | alone | asked | cells | held |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def write(results: Sequence[Result], document: Path = DOCUMENT) -> None:
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n\n{table(results)}\n{END}{after}")


def table(results: Sequence[Result]) -> str:
    """In the order of the faults; those that differ in a place only share a row."""
    rows = groupby(results, key=lambda result: family(result.cell.fault))
    return HEAD + "".join(_row(name, list(group)) for name, group in rows)


def family(fault: Fault) -> str:
    """``cut-at-3/16`` is one of ``cut-at-*``."""
    name, parted, _ = fault.name.partition("/")
    return name.rstrip("0123456789") + "*" if parted else name


def _row(name: str, results: Sequence[Result]) -> str:
    fault = results[0].cell.fault
    held = sum(not result.wrong for result in results)
    fields = (
        f"`{name}`",
        fault.does,
        _both(fault, lambda expect: f"`{expect.failure}`" if expect.failure else "well"),
        _both(fault, lambda expect: _answers(fault, expect, paired=True)),
        _both(fault, lambda expect: _answers(fault, expect, paired=False)),
        _both(fault, lambda expect: _asked(fault, expect)),
        str(len(results)),
        "all" if held == len(results) else f"**{held}**",
    )
    return "| " + " | ".join(fields) + " |\n"


def _both(fault: Fault, say: Callable[[Expect], str]) -> str:
    """One word where streamed and whole answers fare alike, or exist in one form only."""
    said = [say(expect) for expect in (fault.streamed, fault.whole) if expect is not None]
    return said[0] if len(set(said)) == 1 else f"{said[0]}; whole: {said[1]}"


def _answers(fault: Fault, expect: Expect, paired: bool) -> str:
    want = expected(expect, paired, fault.calls)
    return " or ".join(_words(want, want.second.start > 0))


def _words(want: Expected, elsewhere: bool) -> Iterator[str]:
    if Answered.WHOLE in want.answers:
        yield "the other answers" if elsewhere else "answered"
    if Answered.BROKEN in want.answers:
        yield "an error in the stream"
    if Answered.REFUSED in want.answers:
        yield " or ".join(f"{status} `{code}`" for status, code in sorted(want.told))


def _asked(fault: Fault, expect: Expect) -> str:
    """The faulty endpoint, at most, with another and alone."""
    paired, alone = (expected(expect, with_other, fault.calls) for with_other in (True, False))
    return f"{paired.first.stop - 1}, {alone.first.stop - 1}"
