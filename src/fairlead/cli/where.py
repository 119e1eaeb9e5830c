"""Where a command finds the configuration and the records. Starts nothing and asks nobody."""

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.check import DEFAULT_PATH
from fairlead.outside.config import load
from fairlead.outside.config.settings import Listen, default_data
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.types.errors import NotFound

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help=f"The configuration; {DEFAULT_PATH} if there is one."
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FOLDER", help="Of the records; else as the configuration has it."
    ),
]


EVERYWHERE = ("0.0.0.0", "::")


def config_file(given: Path | None) -> Path | None:
    """The file to read: what was asked for, there or not; else the usual one, if it is there."""
    if given is None and not DEFAULT_PATH.exists():
        return None
    return given or DEFAULT_PATH


def folder(config: Path | None, data: Path | None) -> Folder:
    """Both as on the command line. Raises ConfigError when the file has to be read and cannot."""
    if data is not None:
        return Folder(data)
    file = config_file(config)
    return Folder(Path(load(file).server.data if file else default_data()))


def listening(config: Path | None, data: Path | None) -> Listen:
    """Where a gateway with this configuration would be asked, from this machine. A folder that is
    named needs no configuration."""
    file = config_file(config) if data is None else config
    listen = load(file).server.listen if file else Listen()
    return Listen(port=listen.port) if listen.host in EVERYWHERE else listen


def records(at: Folder) -> Store:
    """To look things up in. Raises NotFound where no gateway has kept any yet, and makes none."""
    if not at.database.exists():
        raise NotFound(
            f"there are no records in {at.path} yet: `fairlead serve` keeps them,"
            " and --data says where else to look"
        )
    return Store(at.database)
