"""The loop that the program runs on, and a gateway's parts before a scripted upstream."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from app.made import catalog_of
from fairlead.outside.folder import Folder
from fairlead.types.catalog import Catalog
from servers.setup import Setup


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def catalog(setup: Setup) -> Catalog:
    return catalog_of(setup)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")
