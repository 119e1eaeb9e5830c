"""A data folder with requests on record, and a console that remembers what was printed."""

import asyncio
import io
from pathlib import Path

from rich.console import Console

from fairlead.outside.folder import Folder
from fairlead.outside.journal import Journal
from fairlead.outside.store import Store
from fairlead.types.facts import Fact


def kept(path: Path, *facts: Fact) -> Folder:
    """The folder of a gateway that recorded these and stopped."""
    folder = Folder(path)

    async def record() -> None:
        store = Store(folder.database, asyncio.get_running_loop())
        journal = Journal(store)
        for fact in facts:
            journal(fact)
        await store.close()

    asyncio.run(record())
    return folder


def terminal(width: int = 100) -> Console:
    return Console(
        file=io.StringIO(), record=True, width=width, force_terminal=True, highlight=False
    )


def printed(console: Console) -> list[str]:
    """The lines, without spaces at their ends."""
    return [line.rstrip() for line in console.export_text(clear=False).splitlines()]
