"""A gateway in this process, in front of scripted endpoints of every dialect, with and without a
key; and what hostile callers send."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.types.catalog import Endpoint
from fairlead.types.decision import Limits as KeyLimits
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted, reply


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        server.on("a", canned.OPENAI["text"])
        server.on("m", canned.ANTHROPIC["text"])
        server.on("e", reply(canned.EMBEDDINGS))
        yield server


def endpoints(up: Scripted) -> tuple[Endpoint, ...]:
    return (
        at(up, "a"),
        at(up, "m", "anthropic_messages"),
        at(up, "e", can=frozenset({"embed"})),
    )


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, *endpoints(up)) as running:
        yield running


@pytest.fixture
async def keyed(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, *endpoints(up), key=KeyLimits()) as running:
        yield running
