"""How machines are answered: one JSON object a line on standard output."""

import msgspec
from rich.console import Console

from fairlead.outside.text import printable


def print_json(console: Console, value: object) -> None:
    """What callers wrote stands in it, so it is made fit for a terminal too."""
    console.out(printable(msgspec.json.encode(value)).decode(), highlight=False)
