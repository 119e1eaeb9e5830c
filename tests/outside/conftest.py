"""The one client, closed when the test is over."""

from collections.abc import AsyncIterator

import pytest

from fairlead.outside.upstream import HttpUpstream


@pytest.fixture
async def up() -> AsyncIterator[HttpUpstream]:
    upstream = HttpUpstream("fairlead-test")
    yield upstream
    await upstream.close()
