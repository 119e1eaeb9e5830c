"""What holds for every test: properties are tried on the same examples each time, and how long an
example takes is no property, for the machine may be busy. ``HYPOTHESIS_PROFILE=long`` tries others
each time, and many more: at least 20,000 steps of each state machine (``make properties``)."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fairlead.outside.store import Store
from servers.canned import OPENAI
from servers.scripted import Scripted, scripted
from servers.setup import Setup

settings.register_profile(
    "fairlead",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=2000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fairlead"))


@pytest.fixture
def up() -> Iterator[Scripted]:
    """An upstream that answers, until a test tells it otherwise."""
    with scripted() as upstream:
        for model in ("small", "other"):
            upstream.on(model, OPENAI["text"])
        yield upstream


@pytest.fixture
def setup(up: Scripted) -> Setup:
    """A configuration that serves one model of it."""
    return Setup().endpoint("small", up.address, "openai_chat")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "fairlead.db", asyncio.get_running_loop())
    yield opened
    await opened.close()
