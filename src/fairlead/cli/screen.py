"""Where a command prints: standard output, in as many columns as there are."""

from rich.console import Console

FILE_WIDTH = 100
"""At least, where the output goes to no terminal."""

NARROW = 72
"""With fewer columns tables leave out what they can, so that no name is torn apart."""


def screen() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    return console
