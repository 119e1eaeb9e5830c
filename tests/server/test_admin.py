"""Health, metrics, the list of models, and who may see them."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from fairlead.types.decision import Limits as KeyLimits
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted, reply

ANTHROPIC = {"anthropic-version": "2023-06-01"}
ASK = {"model": "a", "messages": [{"role": "user", "content": "Hello."}]}


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    endpoints = (
        at(up, "a", context_tokens=32_000),
        at(up, "b", context_tokens=None, released="2026-02-01"),
    )
    async with serving(tmp_path, up, *endpoints) as running:
        yield running


@pytest.fixture
async def keyed(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, at(up, "a"), key=KeyLimits()) as running:
        yield running


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/v1/models"])
async def test_a_head_says_what_a_get_would_without_the_body(served: Served, path: str) -> None:
    get = await served.request("GET", path)
    head = await served.request("HEAD", path)

    assert (get.status, head.status, head.body) == (200, 200, b"")
    assert head.headers["content-length"] == str(len(get.body))
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["server"] == "fairlead"


async def test_a_gateway_with_nothing_to_serve_is_alive_and_not_ready(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up) as served:
        alive = await served.request("GET", "/healthz")
        ready = await served.request("GET", "/readyz")

    assert (alive.status, alive.json) == (200, {"status": "ok"})
    assert (ready.status, ready.json) == (503, {"status": "not ready", "endpoints": 0})


async def test_a_gateway_that_serves_is_ready(served: Served) -> None:
    got = await served.request("GET", "/readyz")

    assert (got.status, got.json) == (200, {"status": "ready", "endpoints": 2})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
async def test_health_needs_no_key(keyed: Served, path: str) -> None:
    keyed.key = ""

    assert (await keyed.request("GET", path)).status == 200


BEHIND_A_PROXY: tuple[Mapping[str, str], ...] = (
    {"x-forwarded-for": "203.0.113.9"},
    {"forwarded": "for=203.0.113.9"},
    {"via": "1.1 proxy"},
)


async def test_metrics_are_open_to_this_machine(keyed: Served) -> None:
    keyed.key = ""

    got = await keyed.request("GET", "/metrics")

    assert got.status == 200
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"# TYPE fairlead_requests_total counter" in got.body


@pytest.mark.parametrize("headers", BEHIND_A_PROXY)
async def test_metrics_are_not_open_to_whoever_a_proxy_lets_in(
    keyed: Served, headers: Mapping[str, str]
) -> None:
    with_key = await keyed.request("GET", "/metrics", headers=headers)
    keyed.key = ""
    without = await keyed.request("GET", "/metrics", headers=headers)

    assert (with_key.status, without.status) == (200, 401)


async def test_models_in_openais_shape(served: Served) -> None:
    got = await served.request("GET", "/v1/models")

    ids = [row["id"] for row in got.json["data"]]
    assert (got.json["object"], ids[-2:]) == ("list", ["a", "b"])
    assert {"auto", "list"} <= set(ids)
    assert got.json["data"][-2] == {
        "id": "a",
        "object": "model",
        "created": 0,
        "owned_by": "at-a",
        "context_length": 32_000,
    }
    assert "context_length" not in got.json["data"][-1], "it is not known"


async def test_a_route_is_a_model_of_ours(served: Served) -> None:
    got = await served.request("GET", "/v1/models/auto")

    ours = {"id": "auto", "object": "model", "created": 0, "owned_by": "fairlead"}
    assert (got.status, got.json) == (200, ours)


async def test_models_in_anthropics_shape(served: Served) -> None:
    got = await served.request("GET", "/v1/models", headers=ANTHROPIC)

    ids = [row["id"] for row in got.json["data"]]
    assert (got.json["first_id"], got.json["last_id"]) == (ids[0], ids[-1])
    assert got.json["has_more"] is False
    last = got.json["data"][-1]
    assert (last["type"], last["id"], last["created_at"]) == ("model", "b", "2026-02-01T00:00:00Z")


@pytest.mark.parametrize(("headers", "kind"), [({}, "object"), (ANTHROPIC, "type")])
async def test_one_model(served: Served, headers: Mapping[str, str], kind: str) -> None:
    got = await served.request("GET", "/v1/models/a", headers=headers)

    assert (got.status, got.json["id"], got.json[kind]) == (200, "a", "model")


async def test_a_model_that_is_not_there_is_answered_with_the_nearest(served: Served) -> None:
    got = await served.request("GET", "/v1/models/aut")

    assert (got.status, got.json["error"]["code"]) == (404, "model_not_found")
    assert "auto" in got.json["error"]["message"]


@pytest.mark.parametrize("name", ["at-a/a", "at-a%2Fa"])
async def test_one_endpoint_by_its_name(served: Served, name: str) -> None:
    got = await served.request("GET", f"/v1/models/{name}")

    assert (got.status, got.json["id"], got.json["context_length"]) == (200, "at-a/a", 32_000)


async def test_of_what_a_key_may_not_ask_for_nothing_is_told(up: Scripted, tmp_path: Path) -> None:
    endpoints = at(up, "a"), at(up, "b")

    async with serving(tmp_path, up, *endpoints, key=KeyLimits(), routes=("a",)) as served:
        answers = [await served.request("GET", f"/v1/models/{name}") for name in ("b", "at-b/b")]
        nothing = await served.request("GET", "/v1/models/c")

    told = [got.json["error"]["message"] for got in answers]
    assert [got.status for got in (*answers, nothing)] == [404] * 3
    assert told == [
        nothing.json["error"]["message"].replace("'c'", name) for name in ("'b'", "'at-b/b'")
    ]


NOWHERE = {
    "/chat/completions": "did you mean /v1/chat/completions?",
    "/v1/v1/messages": "did you mean /v1/messages?",
    "/openai/deployments/x/chat/completions": "did you mean /v1/chat/completions?",
    "/v1/message": "did you mean /v1/messages?",
    "/v1/completions": "did you mean /v1/chat/completions?",
    "/v1/responses": "the Responses dialect is not served; its neighbour is /v1/chat/completions",
    "/responses": "the Responses dialect is not served; its neighbour is /v1/chat/completions",
    "/v1/": "GET /openapi.json tells what there is",
    "/v1/moderations": "GET /openapi.json tells what there is",
    "/v1/audio/speech": "GET /openapi.json tells what there is",
}


@pytest.mark.parametrize(("path", "told"), NOWHERE.items())
async def test_who_asks_at_no_address_is_told_where_to(
    served: Served, path: str, told: str
) -> None:
    got = await served.request("POST", path, ASK)

    assert (got.status, got.json["error"]["code"]) == (404, "not_found")
    assert got.json["error"]["message"].endswith(told)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a", "/v1/route"])
async def test_models_and_plans_need_a_key_where_there_are_keys(keyed: Served, path: str) -> None:
    keyed.key = ""

    got = await keyed.request("POST" if path == "/v1/route" else "GET", path, ASK)

    assert got.status == 401


async def test_a_key_sees_what_it_may_ask_for(up: Scripted, tmp_path: Path) -> None:
    endpoints = at(up, "a"), at(up, "b")

    async with serving(tmp_path, up, *endpoints, key=KeyLimits(), routes=("auto", "a")) as served:
        got = await served.request("GET", "/v1/models")
        hidden = await served.request("GET", "/v1/models/b")

    assert [row["id"] for row in got.json["data"]] == ["auto", "a"]
    assert hidden.status == 404


async def test_tokens_are_counted_by_an_endpoint_that_can(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(canned.COUNT))

    async with serving(tmp_path, up, at(up, "a", "anthropic_messages"), at(up, "b")) as served:
        got = await served.request("POST", "/v1/messages/count_tokens", ASK, ANTHROPIC)

    assert (got.status, got.json) == (200, canned.COUNT)
    assert up.seen[0].path == "/v1/messages/count_tokens"
    [fact] = served.exchanged()
    assert (fact.operation, fact.cost_nano_usd) == ("count", 0)
