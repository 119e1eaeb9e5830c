"""Threats 1 and 2: no caller chooses where the gateway connects to, or makes it fetch anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from fairlead.server.paths import METHODS
from servers.inprocess import Served
from servers.scripted import Scripted

MODEL = {"/v1/embeddings": "e", "/v1/messages": "m", "/v1/messages/count_tokens": "m"}
MEMBERS = [
    *("api_base", "base_url", "api_url", "baseURL", "apiBase", "endpoint", "url", "host", "proxy"),
    *("azure_endpoint", "custom_host", "target", "target_url", "upstream", "server", "webhook"),
    *("callback_url", "redirect_uri", "model_list", "provider", "litellm_params", "config"),
    *("vertex_base_url", "aws_bedrock_runtime_endpoint", "openai_api_base", "extra_headers"),
]
HEADERS = [
    *("x-portkey-custom-host", "x-base-url", "x-api-base", "x-custom-host", "x-target-url"),
    *("x-forwarded-host", "x-original-url", "x-rewrite-url", "x-host", "x-http-host-override"),
    *("helicone-target-url", "helicone-openai-api-base", "forwarded", "via", "x-upstream"),
    *("x-proxy-url", "x-real-url", "x-backend-url", "x-endpoint", "openai-api-base", "referer"),
]


@dataclass
class Canary:
    """Listens, and counts whoever comes."""

    address: str = ""
    visits: int = 0

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    made = Canary()
    async with await asyncio.start_server(made.visit, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        made.address = f"http://{host}:{port}"
        yield made


def asked(path: str) -> dict[str, Any]:
    words = {"input": "Hi."} if path == "/v1/embeddings" else {}
    said = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 9}
    return {"model": MODEL.get(path, "a"), **(words or said)}


@pytest.mark.parametrize("path", METHODS)
async def test_no_member_header_or_query_names_an_address(
    served: Served, canary: Canary, path: str
) -> None:
    where = path.replace("{name}", "a")
    for name in MEMBERS:
        for value in (canary.address, {"url": canary.address}, [canary.address]):
            body = {**asked(path), name: value, "metadata": {name: canary.address}}
            await served.request(METHODS[path], where, body)
        await served.request(METHODS[path], f"{where}?{name}={canary.address}", asked(path))
    for name in HEADERS:
        await served.request(METHODS[path], where, asked(path), {name: canary.address})

    assert canary.visits == 0


async def test_a_visit_would_be_noticed(canary: Canary) -> None:
    where = canary.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(*where)
    with closing(writer):
        assert await reader.read() == b""
    assert canary.visits == 1


async def test_headers_of_a_caller_stay_here(served: Served, up: Scripted) -> None:
    sent = {name: "http://127.0.0.1:1/" for name in HEADERS}
    sent |= {"cookie": "c=1", "x-secret": "s", "x-api-key": "mine", "connection": "x-secret"}
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/embeddings"):
        assert (await served.request("POST", path, asked(path), sent)).status == 200
    allowed = {
        *("host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"),
        *("authorization", "anthropic-version"),
    }

    for model in "ame":
        (seen,) = up.asked(model)
        assert seen.headers.keys() <= allowed
        assert "mine" not in str(seen.headers)


LINKS = [
    *("{c}/x.png", "{c}@127.0.0.1/x.png", "file:///etc/passwd", "http://169.254.169.254/latest"),
    *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0x7f.1/", "http://2130706433/"),
    *("http://127.1/", "http://0/", "http://localhost.localdomain/", "gopher://127.0.0.1:25/"),
    *("ftp://127.0.0.1/", "dict://127.0.0.1:11211/", "//127.0.0.1/x.png", "http:127.0.0.1"),
]


@pytest.mark.parametrize("link", LINKS)
async def test_nothing_that_is_linked_is_fetched(
    served: Served, up: Scripted, canary: Canary, link: str
) -> None:
    """Images and documents go to the model as links, or not at all: it is not we who look."""
    url = link.format(c=canary.address)
    parts: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"type": "image_url", "image_url": {"url": url}}),
        ("/v1/chat/completions", {"type": "file", "file": {"file_url": url}}),
        ("/v1/messages", {"type": "image", "source": {"type": "url", "url": url}}),
        ("/v1/messages", {"type": "document", "source": {"type": "url", "url": url}}),
    ]
    for path, part in parts:
        for model in ("a", "m"):
            body = asked(path) | {"model": model, "messages": [{"role": "user", "content": [part]}]}
            await served.request("POST", path, body)
            servers = [{"type": "url", "url": url, "name": "x"}]
            await served.request("POST", path, body | {"mcp_servers": servers})

    assert canary.visits == 0
