"""An upstream in the test's own loop, which says what a test tells it to."""

from collections.abc import AsyncIterator

import pytest

from servers.scripted import Scripted


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server
