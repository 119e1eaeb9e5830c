"""Keeps a running gateway up to date with its configuration and its keys, and forgets in time."""

import asyncio
import sqlite3
from asyncio import to_thread
from collections.abc import Callable, Iterable
from pathlib import Path
from time import time

from msgspec.structs import replace

from fairlead.app.parts import Running
from fairlead.app.sources import Loaded, Sources
from fairlead.outside.config import ConfigError, Settings, difference, unserved
from fairlead.outside.log import Level
from fairlead.outside.watch import changes
from fairlead.state.keys import keys_version, list_keys

KEYS_EVERY_S = 0.25
"""Other processes make and revoke keys; we promise to notice within half a second."""
FORGET_EVERY_S = 86_400.0
FORGET_ANSWERS_EVERY_S = 3600.0
OPENED_ONCE = ("listen", "data", "log", "max_body_bytes", "limits", "drain_s", "drain_delay_s")
"""Fields of ServerSettings; the others count from the next reload on."""

Say = Callable[[str], None]
"""Prints for whoever watches the terminal; the log is told as well."""


class Upkeep:
    def __init__(self, sources: Sources, running: Running, loaded: Loaded, say: Say) -> None:
        self._sources = sources
        self._running = running
        self._settings = loaded.settings
        self._keep_ms = loaded.settings.server.keep_ms
        self._say = say
        self._reloading = asyncio.Lock()

    async def follow_file(self) -> None:
        if self._sources.config is None:
            return
        if not await to_thread(self._is_as_read):
            await self.reload()
        async for _ in changes(self._sources.config):
            # One that is empty is about to be written; as it is, it would say: all defaults.
            if not await to_thread(_is_empty, self._sources.config):
                await self.reload()

    async def follow_signal(self, asked: asyncio.Event) -> None:
        while await asked.wait():
            asked.clear()
            await self.reload()

    async def follow_keys(self) -> None:
        store, keys = self._running.store, self._running.state.keys
        seen: int | None = None  # a key may have been made since ours were read
        wrong = ""  # told once: we look four times a second
        while True:
            try:
                version = await to_thread(keys_version, store)
                if version != seen:
                    keys.replace(await to_thread(list_keys, store))
                    seen = version
                if wrong:
                    self._tell("info", ["keys can be read again"])
                wrong = ""
            except sqlite3.Error as error:
                if wrong != str(error):
                    self._tell("error", [f"keys cannot be read, the known ones stay: {error}"])
                wrong = str(error)
            await asyncio.sleep(KEYS_EVERY_S)

    async def follow_others(self) -> None:
        """Those that have handed over to us, and finish what they had."""
        await self._running.others.follow(lambda line: self._tell("warning", [line]))

    async def forget_daily(self) -> None:
        while True:
            await self.forget()
            await asyncio.sleep(FORGET_EVERY_S)

    async def forget(self) -> None:
        """Requests that have been on record for long enough. What each key spent stays."""
        before_ms = max(0, int(time() * 1000) - self._keep_ms)
        try:
            rows = await to_thread(self._running.store.prune, before_ms)
        except sqlite3.Error as error:
            self._tell("error", [f"old records stay, they cannot be removed: {error}"])
            return
        if rows:
            self._tell("info", [f"removed from the records, older than server.keep: {rows} rows"])

    async def forget_answers(self) -> None:
        """Those that were kept for callers who might ask again."""
        while True:
            try:
                await to_thread(self._running.state.idempotency.forget, int(time() * 1000))
            except sqlite3.Error as error:
                self._tell("error", [f"kept answers stay, they cannot be removed: {error}"])
            await asyncio.sleep(FORGET_ANSWERS_EVERY_S)

    def _is_as_read(self) -> bool:
        """False: the file changed while we started, when nobody watched it yet."""
        try:
            return self._sources.settings() == self._settings
        except ConfigError:
            return False

    async def reload(self) -> None:
        """Validate, show the difference, swap; on a mistake the old configuration stays."""
        async with self._reloading:  # what was read last is in force last
            try:
                loaded = await self._sources.load()
            except ConfigError as error:
                kept = "the configuration is not taken over, the old one stays in force"
                self._log("error", (kept, *(problem.in_a_line for problem in error.problems)))
                self._say(f"{error.render()}\n{kept}")
                return
            old = self._running.state.registry.catalog
            new = replace(loaded.catalog, generation=old.generation + 1)
            lines = [*difference(old, new), *_at_next_start(self._settings, loaded.settings)]
            self._running.state.swap(new)
            self._keep_ms = loaded.settings.server.keep_ms
        self._tell("info", ["reloaded", *lines] if lines else ["reloaded: nothing has changed"])
        self._tell("warning", (*loaded.settings.warnings, *unserved(new)))

    def _tell(self, level: Level, lines: Iterable[str]) -> None:
        told = list(lines)
        self._log(level, told)
        for line in told:
            self._say(f"{level}: {line}" if level != "info" else line)

    def _log(self, level: Level, lines: Iterable[str]) -> None:
        if self._running.log is not None:
            for line in lines:
                self._running.log.note(level, line, int(time() * 1000))


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False  # it is told that it cannot be read


def _at_next_start(old: Settings, new: Settings) -> list[str]:
    """What of the server's own settings has changed: sockets and files are opened once."""
    return [
        f"server.{name}: takes effect at the next start"
        for name in OPENED_ONCE
        if getattr(old.server, name) != getattr(new.server, name)
    ]
