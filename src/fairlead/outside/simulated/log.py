"""What the simulated providers saw, written by themselves: the truth that others are held to."""

import hashlib
import time
from collections.abc import Callable, Sequence

from msgspec import Struct


class Arrival(Struct, frozen=True):
    """What came in over the wire."""

    path: str
    body: bytes
    model: str = ""
    fault: str = ""


class Served(Struct, frozen=True):
    """One request that arrived, whatever became of it."""

    at_ms: int
    """Unix milliseconds of arrival."""
    provider: str
    model: str
    """As named in the request; empty when it could not be read."""
    endpoint: str
    """``provider/model``."""
    zone: str
    path: str
    status: int
    """What was answered; 0 when the connection was reset or left without an answer."""
    fault: str
    """The fault that struck it, or empty."""
    body_sha256: str
    markers: tuple[str, ...]
    """Which of the watched strings stood in the body."""


class ServedLog:
    """Only grows. ``watched``: strings to look for in every body, in ASCII letters and digits so
    that no escaping can hide them."""

    def __init__(self, watched: Sequence[str] = (), clock: Callable[[], float] = time.time) -> None:
        self._watched = {marker: marker.encode("ascii") for marker in watched}
        self._clock = clock
        self._entries: list[Served] = []

    @property
    def entries(self) -> tuple[Served, ...]:
        return tuple(self._entries)

    def add(self, provider: str, zone: str, arrival: Arrival, status: int) -> None:
        body = arrival.body
        self._entries.append(
            Served(
                at_ms=int(self._clock() * 1000),
                provider=provider,
                model=arrival.model,
                endpoint=f"{provider}/{arrival.model}",
                zone=zone,
                path=arrival.path,
                status=status,
                fault=arrival.fault,
                body_sha256=hashlib.sha256(body).hexdigest(),
                markers=tuple(name for name, text in self._watched.items() if text in body),
            )
        )

    def outside(self, zone: str) -> tuple[Served, ...]:
        """Requests that carried a watched string and reached another zone than ``zone``."""
        return tuple(entry for entry in self._entries if entry.markers and entry.zone != zone)
