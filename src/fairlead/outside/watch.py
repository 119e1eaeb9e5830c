"""Tells when a file has changed. Knows nothing of what is in it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path

from watchfiles import awatch

LOOK_ANYWAY_S = 3.0
"""Some file systems report nothing (network drives, folders shared with a container), and what
happens before the watch stands is never reported."""

SETTLED_MS = 50
"""An editor is done with a file when it has left it alone for so long."""

Mark = tuple[int, int, int, int] | None
"""What tells one state of a file from another; None while there is no file."""


async def changes(
    path: Path, settled_ms: int = SETTLED_MS, look_anyway_s: float = LOOK_ANYWAY_S
) -> AsyncGenerator[None]:
    """Yield each time ``path`` is another file or has another content, for ever: creation and
    removal count.

    Reports are hints to look at the file, no more. So it does not matter whether an editor writes
    in place or puts a new file there, or whether a link somewhere on the path is swapped, as
    Kubernetes does: https://kubernetes.io/docs/concepts/configuration/configmap/
    """
    seen = _mark(path)
    async with aclosing(_hints(path.parent, settled_ms, look_anyway_s)) as hints:
        async for _ in hints:
            now = _mark(path)
            if now != seen:
                seen = await _left_alone(path, now, settled_ms / 1000)
                yield


async def _left_alone(path: Path, seen: Mark, settled_s: float) -> Mark:
    """Any other file in the folder makes us look, perhaps while this one is half written."""
    while True:
        await asyncio.sleep(settled_s)
        now = _mark(path)
        if now == seen:
            return now
        seen = now


async def _hints(folder: Path, settled_ms: int, look_anyway_s: float) -> AsyncGenerator[None]:
    """Yield when something may have happened in a folder, which may come and go."""
    reports = partial(
        awatch,
        folder,
        watch_filter=None,  # links that matter have names of their own, such as ..data
        step=settled_ms,
        rust_timeout=int(look_anyway_s * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
    while True:
        try:
            async with aclosing(reports()) as reported:
                async for _ in reported:
                    yield
                    if not _is_folder(folder):
                        break  # nobody reports on the next folder of that name
        except FileNotFoundError:
            yield
            await asyncio.sleep(look_anyway_s)


def _is_folder(path: Path) -> bool:
    return path.is_dir()


def _mark(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
