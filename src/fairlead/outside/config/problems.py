"""What is wrong in a configuration file, where, and how it is shown. Knows no key and no unit."""

import difflib
from collections.abc import Iterable, Sequence

from msgspec import Struct

from fairlead.outside.config.mask import IN_ADDRESS, looks_like_a_key

MAX_QUOTED = 60
MAX_SHOWN = 120
"""Characters of a line; of a longer one, what stands around the mistake."""
BEFORE_MISTAKE = 40


class Place(Struct, frozen=True):
    """Where something stands in a file, counted from 1. Line 0 is nowhere."""

    line: int = 0
    column: int = 1
    length: int = 1


NOWHERE = Place()


class Mistake(ValueError):
    """One thing wrong. A parser of bare text leaves ``place`` open for whoever knows it.

    ``message`` and ``hint`` never hold a credential.
    """

    def __init__(self, message: str, hint: str = "", place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place


class Problem(Struct, frozen=True):
    """A mistake as people see it."""

    file: str
    line: int
    column: int
    length: int
    message: str
    hint: str = ""
    excerpt: str = ""
    """The line itself, credentials masked; empty when there is none to show."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}"

    @property
    def in_a_line(self) -> str:
        """For a log, with the hint."""
        return f"{self} ({self.hint})" if self.hint else str(self)

    def render(self) -> str:
        """One to three lines: where and what, the line, and a caret with the hint."""
        if not self.excerpt.strip():
            return self.in_a_line
        number = f"{self.line:>3}"
        start = self.column - 1 - BEFORE_MISTAKE if len(self.excerpt) > MAX_SHOWN else 0
        start = max(0, start)
        shown = printable(self.excerpt[start : start + MAX_SHOWN].replace("\t", " "))
        caret = " " * (self.column - 1 - start) + "^" * min(self.length, MAX_SHOWN)
        return "\n".join(
            (
                str(self),
                f"{number} | {shown}",
                f"{' ' * len(number)} | {caret} {self.hint}".rstrip(),
            )
        )


class ConfigError(Exception):
    """The configuration cannot be used. Holds every problem found, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
        self.problems: tuple[Problem, ...] = tuple(ordered)
        super().__init__("\n".join(str(problem) for problem in ordered))

    def render(self) -> str:
        return "\n\n".join(problem.render() for problem in self.problems)


class Source(Struct, frozen=True):
    """A file's name and its lines, credentials masked."""

    name: str
    lines: tuple[str, ...] = ()

    def problem(self, mistake: Mistake) -> Problem:
        place = mistake.place or NOWHERE
        excerpt = self.lines[place.line - 1] if 0 < place.line <= len(self.lines) else ""
        return Problem(
            file=self.name,
            line=place.line,
            column=place.column,
            length=max(1, min(place.length, len(excerpt) - place.column + 1)),
            message=mistake.message,
            hint=mistake.hint,
            excerpt=excerpt,
        )


def quoted(text: str) -> str:
    """``text`` fit for a message: on one line, bounded, no credential, and without control
    characters, which could otherwise steer the terminal that shows them."""
    if looks_like_a_key(text):
        return "`***`"
    text = IN_ADDRESS.sub("://***@", text)
    short = text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
    return f"`{printable(short)}`"


def printable(text: str) -> str:
    """Every character that would not show, escaped; lone surrogates too, as they cannot be
    written in UTF-8."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """A hint naming the option nearest to ``word``, or nothing."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def one_of(options: Sequence[str]) -> str:
    """``a, b or c``."""
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last
