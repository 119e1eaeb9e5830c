"""How a command says that it cannot do what was asked: on standard error, with status 1."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from fairlead.outside.config import ConfigError
from fairlead.outside.config.problems import Mistake
from fairlead.types.errors import GatewayError

Value = TypeVar("Value")


@contextmanager
def complaints() -> Iterator[None]:
    """Around a command's work. What nobody foresaw passes through: it is a bug here."""
    try:
        yield
    except ConfigError as error:
        give_up(error.render())
    except GatewayError as error:
        give_up(error.message)
    except sqlite3.Error as error:
        give_up(f"the records cannot be used: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        give_up(f"{where}{error.strerror or error}")
    except UnicodeEncodeError:
        # Bytes on the command line that are no text, or a terminal that cannot show some.
        give_up("some of this text cannot be written in the encoding in use")


def understood(parse: Callable[[str], Value], text: str, option: str) -> Value:
    """An option's value. Raises BadParameter with the reason why it is none."""
    try:
        return parse(text)
    except Mistake as mistake:
        hint = f" ({mistake.hint})" if mistake.hint else ""
        raise typer.BadParameter(f"{mistake.message}{hint}", param_hint=option) from None


def give_up(message: str) -> NoReturn:
    console = Console(stderr=True, highlight=False)
    console.print(Text(message, "red"), soft_wrap=True)
    raise typer.Exit(1)
