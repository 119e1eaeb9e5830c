"""What a gateway is started with in these tests, and a client to ask it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import aiohttp

from fairlead.outside import catalogue, pepper
from fairlead.outside.config import build, parse
from fairlead.outside.config.settings import Listen, ServerSettings
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.state import keys
from fairlead.types.catalog import Catalog
from fairlead.types.decision import Caller
from servers.setup import Setup

KNOWN = catalogue.load()
ANYONE = Caller("anyone", "anyone")


def catalog_of(setup: Setup) -> Catalog:
    return build(parse(setup.text(), "fairlead.yaml"), KNOWN)


def server(host: str = "127.0.0.1", port: int = 0, log: str = "none") -> ServerSettings:
    return ServerSettings(listen=Listen(host, port), log=log, discover=False)


def create_key(folder: Folder, name: str = "team") -> str:
    """As another process does it."""
    store = Store(folder.database)
    key, _ = keys.create(store, pepper.load(folder.pepper), name, now_ms=int(time() * 1000))
    return key


def revoke_key(folder: Folder, name: str = "team") -> None:
    keys.revoke(Store(folder.database), name, int(time() * 1000))


def rows(folder: Folder, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in Store(folder.database).read(sql)]


@asynccontextmanager
async def asked(
    address: str, model: str, key: str = "", **fields: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A chat request; the body of the answer is still to be read."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello."}], **fields}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{address}/v1/chat/completions", json=body, headers=headers) as response,
    ):
        yield response


async def status(address: str, model: str = "small", key: str = "") -> int:
    async with asked(address, model, key) as response:
        await response.read()
        return response.status


async def get(url: str) -> tuple[int, Mapping[str, Any]]:
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        return response.status, json.loads(await response.read())


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]
