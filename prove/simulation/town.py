"""The folder in which processes of one gateway meet: who serves, who finishes what it had.

In the place of ``outside.handover`` and ``outside.drains``: the same words between the same two,
without a socket and a file. A process that dies is silent from then on, and its mark has no lock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import Any

from msgspec import Struct

from fairlead.outside.drains import Found
from fairlead.outside.handover import PATIENCE_S, Borrow, Gone, Message, NotNow, Refused, Said
from fairlead.types.errors import OurError
from prove.simulation.chance import Chance
from prove.simulation.loop import VirtualLoop


class Citizen:
    """A process, as others see it."""

    def __init__(self, town: "Town") -> None:
        self.town = town
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self._talks: list[Talk] = []

    def spawn(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(doing)
        self.tasks.append(task)
        return task

    def die(self) -> None:
        self.dead = True
        for talk in self._talks:
            talk.hang_up()
        for task in self.tasks:
            task.cancel()

    def talk(self, with_: "Citizen") -> tuple["Talk", "Talk"]:
        ours, theirs = Talk(self), Talk(with_)
        ours.other, theirs.other = theirs, ours
        for talk in (ours, theirs):
            talk.owner._talks.append(talk)
        return ours, theirs


class Talk:
    """One end of a conversation."""

    other: "Talk"

    def __init__(self, owner: Citizen) -> None:
        self.owner = owner
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue()
        self._gone = self._deaf = False

    def hang_up(self) -> None:
        self._gone = True
        self.other._heard.put_nowait(None)

    async def hear(self, patience_s: float = PATIENCE_S) -> Message | None:
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._heard.get(), patience_s)
        self._deaf = True
        return None if self._heard.empty() else self._heard.get_nowait()

    async def say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        await asyncio.sleep(self.owner.town.delay_s())
        if self._gone or self.other._gone or self.other._deaf:
            raise ConnectionResetError
        self.other._heard.put_nowait(message)


class Link:
    """The same as the next process has it."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    async def say(self, message: Message) -> None:
        try:
            await self._talk.say(message)
        except OSError as error:
            raise Gone("it broke off") from error

    async def hear(self, kind: type[Said]) -> Said:
        message = await self._talk.hear()
        if message is None:
            raise Gone("it broke off, or says nothing")
        if isinstance(message, Refused):
            raise NotNow(message.why)
        if not isinstance(message, kind):
            raise OurError(f"it says {message}")
        return message

    def taken(self) -> tuple[int, list[Any]]:
        return -1, []


class Mark:
    """In the place of a file with a lock."""

    def __init__(self, owner: Citizen) -> None:
        self._owner = owner
        self._closed = False
        self.attempt_ids: list[str] | None = None

    @property
    def alive(self) -> bool:
        return not (self._closed or self._owner.dead)

    def begin(self, attempt_ids: tuple[str, ...]) -> None:
        self._closed = False
        self.attempt_ids = [*attempt_ids]
        self._owner.town.marks.append(self)

    def add(self, attempt_id: str) -> None:
        if self.attempt_ids is not None and self.alive:
            self.attempt_ids.append(attempt_id)

    def withdraw(self) -> None:
        if self in self._owner.town.marks and self.alive:
            self._owner.town.marks.remove(self)
        self.close()

    def close(self) -> None:
        self._closed = True

    def unlink(self, missing_ok: bool) -> None:
        if self in self._owner.town.marks:
            self._owner.town.marks.remove(self)


class Door(Struct):
    """In the place of a socket in the folder."""

    owner: Citizen
    meet: Callable[[Any], Awaitable[None]]

    async def open(self) -> None:
        if not self.owner.dead:
            self.owner.town.door = self

    async def close(self) -> None:
        if self.owner.town.door is self:
            self.owner.town.door = None

    async def knocked(self, talk: Talk) -> None:
        try:
            await self.meet(talk)
        finally:
            talk.hang_up()


class Town:
    def __init__(self, loop: VirtualLoop, chance: Chance, slow_s: float) -> None:
        self.loop = loop
        self.door: Door | None = None
        self.marks: list[Mark] = []
        self.moving: Citizen | None = None
        """Who is being put together: a door is made for it."""
        self._chance = chance
        self._slow_s = slow_s

    def delay_s(self) -> float:
        return self._chance.random() * self._slow_s

    # In the place of names in ``app.handover``.

    def make_door(self, path: object, meet: Callable[[Any], Awaitable[None]]) -> Door:
        assert self.moving is not None
        return Door(self.moving, meet)

    def found(self, path: object) -> list[Found]:
        """All that is there; a mark stands for its own path."""
        marks: list[Any] = [*self.marks]
        return [Found(each, each.alive, tuple(each.attempt_ids)) for each in marks]

    async def asked(self, path: object, wish: Borrow) -> Message | None:
        door = self.door
        await asyncio.sleep(self.delay_s())
        if door is None or door.owner.dead:
            return None
        asker = Citizen(self)
        ours, theirs = asker.talk(door.owner)
        door.owner.spawn(door.knocked(theirs))
        try:
            await ours.say(wish)
            return await ours.hear()
        except OSError:
            return None

    async def to_thread(self, blocking: Callable[..., Any], *args: Any, **more: Any) -> Any:
        await asyncio.sleep(self.delay_s())
        result = blocking(*args, **more)
        if isawaitable(result):
            result = await result
        await asyncio.sleep(self.delay_s())
        return result
