"""The description of the API: that it is one, and that it describes this one."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis

from fairlead.dialects import DIALECTS
from fairlead.dialects.wire import KNOWN_HEADERS
from fairlead.server.openapi import document
from fairlead.server.paths import DIALECT_OF_PATH, METHODS
from fairlead.types.errors import CLIENT_VIEW, OverBudget, Unauthenticated
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted

API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Scripted() as up, serving(tmp_path, up, at(up, "a")) as running:
        yield running


def test_it_is_valid() -> None:
    schemathesis.openapi.from_dict(document()).validate()


async def test_it_is_served_to_everybody_of_this_machine(served: Served) -> None:
    got = await served.request("GET", "/openapi.json")

    assert got.status == 200
    assert got.json == document()
    assert got.headers["content-type"] == "application/json"


def test_it_names_the_addresses_and_methods_that_there_are() -> None:
    told = {(path, method.upper()) for path, of in document()["paths"].items() for method in of}

    assert told == set(METHODS.items())


@pytest.mark.parametrize(("path", "method"), METHODS.items())
async def test_what_it_names_is_there(served: Served, path: str, method: str) -> None:
    got = await served.request(method, path.replace("{name}", "a"), body=b"{}")

    assert got.status in (200, 400)


@pytest.mark.parametrize(("path", "method"), METHODS.items())
async def test_no_other_method_is_taken(served: Served, path: str, method: str) -> None:
    for other in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - {method}:
        got = await served.request(other, path.replace("{name}", "a"), body=b"{}")
        assert (other, got.status) == (other, 405)


def test_the_page_has_the_same_addresses() -> None:
    told = re.findall(r"`(GET|POST) (/[^`]*)`", API_PAGE.read_text())

    assert {(path.replace("NAME", "{name}"), method) for method, path in told} >= {
        (path, method) for path, method in METHODS.items() if path != "/"
    }


@pytest.mark.parametrize("path", DIALECT_OF_PATH)
def test_every_header_that_is_read_can_be_sent(path: str) -> None:
    told = {each["name"] for each in document()["paths"][path]["post"]["parameters"]}
    anthropic = {"anthropic-version"} if "messages" in path else set()

    assert told == {*KNOWN_HEADERS, "idempotency-key"} | anthropic


TAKEN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a cache that is filled": (
        "anthropic_messages",
        {"max_tokens": 0, "messages": [{"role": "user", "content": "Hi"}]},
    ),
    "tokens": ("openai_embeddings", {"input": [1, 2]}),
    "lists of tokens": ("openai_embeddings", {"input": [[1, 2], [3]]}),
    "texts": ("openai_embeddings", {"input": ["a", "b"]}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken_is_described(case: str) -> None:
    dialect, fields = TAKEN[case]
    body = {"model": "auto", **fields}
    (path,) = (path for path, spoken in DIALECT_OF_PATH.items() if spoken == dialect)
    described = document()
    content = described["paths"][path]["post"]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": described["components"]}

    assert DIALECTS[dialect].parse_request(msgspec.json.encode(body), {}).model == "auto"
    assert jsonschema_rs.is_valid(schema, body)


def test_every_error_has_its_status() -> None:
    statuses = {status for status, _ in CLIENT_VIEW.values()}
    statuses |= {OverBudget.status, Unauthenticated.status, 500}
    described = document()["paths"]["/v1/messages"]["post"]["responses"]

    assert {str(status) for status in statuses} <= described.keys()
