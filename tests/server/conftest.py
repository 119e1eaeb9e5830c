"""An upstream in the test's own loop, which answers for the model ``a``."""

from collections.abc import AsyncIterator

import pytest

from servers import canned
from servers.scripted import Scripted


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        server.on("a", canned.OPENAI["text"])
        yield server
