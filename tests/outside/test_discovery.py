"""What is found on this machine, what is learned of it, and what is no model server."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead.outside.discovery import (
    MAX_MODELS,
    MAX_NAME_CHARS,
    STRENGTHS,
    UNKNOWN_STRENGTH,
    USUAL,
    Server,
    Target,
    discover,
)
from fairlead.outside.simulated.bodies import model_list
from fairlead.outside.upstream import HttpUpstream
from fairlead.server.models import render_list
from fairlead.types.catalog import Model
from servers.llama import SLOT_CONTEXT_TOKENS, llama_server
from servers.scripted import Script, Scripted, Seen, reply, scripted, silent
from servers.tiny_gguf import write_model

Pages = Mapping[str, Any]
"""What a server answers by path: JSON, bytes, or a script. For the rest, 404."""

PATIENCE_S = 5.0


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as upstream:
        yield upstream


def serve(server: Scripted, pages: Pages) -> None:
    def answer(seen: Seen) -> Script:
        if seen.path not in pages:
            return reply({"error": "not found"}, status=404)
        page = pages[seen.path]
        return page if isinstance(page, tuple) else reply(page)

    server.on("*", answer)


def rows(owner: str, *names: str, **more: object) -> dict[str, Any]:
    data = [{"id": name, "object": "model", "owned_by": owner, **more} for name in names]
    return {"object": "list", "data": data}


class Look:
    """Discovery of one scripted server, as if it stood where a kind usually does."""

    def __init__(self, up: HttpUpstream, server: Scripted) -> None:
        self._up = up
        self._server = server

    async def __call__(
        self, kind: str, pages: Pages, guessed: bool = True, timeout_s: float = PATIENCE_S
    ) -> Server | None:
        serve(self._server, pages)
        target = Target(kind or "mine", kind, f"{self._server.address}/v1", guessed)
        found = await discover(self._up.probe, (target,), timeout_s)
        return found[0] if found else None

    async def models(self, kind: str, pages: Pages, guessed: bool = True) -> dict[str, Model]:
        found = await self(kind, pages, guessed)
        assert found is not None
        return {model.name: model for model in found.models}


@pytest.fixture
def look(up: HttpUpstream, server: Scripted) -> Look:
    return Look(up, server)


# One of each kind, in words and values of our own.

LLAMACPP: Pages = {
    "/v1/models": {
        "object": "list",
        "data": [
            {
                "id": "gemma-3-4b-it-Q4_K_M.gguf",
                "object": "model",
                "owned_by": "llamacpp",
                "meta": {"n_ctx_train": 131072, "n_params": 3_880_099_328, "size": 2_489_757_856},
            }
        ],
    },
    "/props": {
        "default_generation_settings": {"n_ctx": 16384, "params": {"temperature": 0.7}},
        "total_slots": 4,
        "modalities": {"vision": True, "audio": False},
        "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
    },
}
VLLM: Pages = {
    "/v1/models": {
        "object": "list",
        "data": [
            {
                "id": "Qwen/Qwen3-32B",
                "object": "model",
                "owned_by": "vllm",
                "root": "Qwen/Qwen3-32B",
                "parent": None,
                "max_model_len": 40960,
            },
            {
                "id": "tickets-adapter",
                "object": "model",
                "owned_by": "vllm",
                "parent": "Qwen/Qwen3-32B",
                "max_model_len": None,
            },
        ],
    }
}
SGLANG: Pages = {
    "/v1/models": rows("sglang", "Qwen/Qwen2.5-VL-7B-Instruct", max_model_len=128000),
    "/get_model_info": {"is_generation": True, "has_image_understanding": True},
}
LMSTUDIO: Pages = {
    "/v1/models": rows("organization_owner", "qwen3-14b", "qwen2-vl-7b", "text-embedding-nomic"),
    "/api/v0/models": {
        "object": "list",
        "data": [
            {
                "id": "qwen3-14b",
                "type": "llm",
                "state": "loaded",
                "max_context_length": 40960,
                "loaded_context_length": 8192,
                "capabilities": ["tool_use"],
            },
            {
                "id": "qwen2-vl-7b",
                "type": "vlm",
                "state": "not-loaded",
                "max_context_length": 32768,
            },
            {"id": "text-embedding-nomic", "type": "embeddings", "max_context_length": 2048},
        ],
    },
}
OLLAMA: Pages = {
    "/v1/models": rows("library", "qwen3:8b", "gemma3:latest", "nomic-embed-text:latest"),
    "/api/tags": {
        "models": [
            {
                "name": "qwen3:8b",
                "details": {"parameter_size": "8.2B"},
                "capabilities": ["completion", "tools", "thinking"],
            },
            {
                "name": "gemma3:latest",
                "details": {"parameter_size": "4.3B"},
                "capabilities": ["completion", "vision"],
            },
            {
                "name": "nomic-embed-text:latest",
                "details": {"parameter_size": "137M"},
                "capabilities": ["embedding"],
            },
        ]
    },
    "/api/ps": {"models": [{"name": "qwen3:8b", "context_length": 32768}]},
}
EACH = {
    "llamacpp": LLAMACPP,
    "vllm": VLLM,
    "sglang": SGLANG,
    "lmstudio": LMSTUDIO,
    "ollama": OLLAMA,
}

TEXT = frozenset({"text"})
IMAGES = frozenset({"text", "image"})
BASE = frozenset({"system", "stream", "sampling"})
ANY_JSON = BASE | {"json_object", "json_schema"}
EMBEDS = frozenset({"embed"})


def facts(model: Model) -> tuple[object, ...]:
    return model.context_tokens, model.accepts, model.can, model.strength


LEARNED: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "llamacpp": {"gemma-3-4b-it-Q4_K_M.gguf": (16384, IMAGES, ANY_JSON | {"tools"}, 0.35)},
    "vllm": {
        "Qwen/Qwen3-32B": (40960, TEXT, ANY_JSON, 0.6),
        "tickets-adapter": (40960, TEXT, ANY_JSON, UNKNOWN_STRENGTH),
    },
    "sglang": {"Qwen/Qwen2.5-VL-7B-Instruct": (128000, IMAGES, ANY_JSON, 0.45)},
    "lmstudio": {
        "qwen3-14b": (8192, TEXT, BASE | {"json_schema", "tools"}, 0.5),
        "qwen2-vl-7b": (32768, IMAGES, BASE | {"json_schema"}, 0.45),
        "text-embedding-nomic": (2048, TEXT, EMBEDS, UNKNOWN_STRENGTH),
    },
    "ollama": {
        "qwen3:8b": (32768, TEXT, ANY_JSON | {"tools", "reasoning"}, 0.45),
        "gemma3:latest": (None, IMAGES, ANY_JSON, 0.35),
        "nomic-embed-text:latest": (None, TEXT, EMBEDS, 0.25),
    },
}


@pytest.mark.parametrize("kind", EACH)
async def test_what_is_learned_of_each_kind(kind: str, look: Look) -> None:
    models = await look.models(kind, EACH[kind])

    assert {name: facts(model) for name, model in models.items()} == LEARNED[kind]
    assert all(model.open_weights and not model.prices for model in models.values())


async def test_found_where_it_usually_is(look: Look, server: Scripted) -> None:
    found = await look("vllm", VLLM)

    assert found is not None
    assert (found.provider, found.kind) == ("vllm", "vllm")
    assert found.address == f"{server.address}/v1"


@pytest.mark.parametrize("kind", EACH)
async def test_only_read_and_without_a_credential(kind: str, look: Look, server: Scripted) -> None:
    await look(kind, EACH[kind])

    assert {seen.method for seen in server.seen} == {"GET"}
    assert not any(
        {"authorization", "x-api-key", "cookie"} & seen.headers.keys() for seen in server.seen
    )


def test_where_is_looked() -> None:
    assert {target.kind: target.address for target in USUAL} == {
        "ollama": "http://127.0.0.1:11434/v1",
        "lmstudio": "http://127.0.0.1:1234/v1",
        "llamacpp": "http://127.0.0.1:8080/v1",
        "vllm": "http://127.0.0.1:8000/v1",
        "sglang": "http://127.0.0.1:30000/v1",
    }
    assert all(target.guessed and target.provider == target.kind for target in USUAL)


# Ports are shared.


@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "sglang", "ollama"])
async def test_a_kind_is_what_it_says_not_where_it_is(
    kind: str, look: Look, server: Scripted
) -> None:
    usual = "llamacpp" if kind != "llamacpp" else "vllm"

    found = await look(usual, EACH[kind])

    assert found is not None
    assert found.kind == kind
    assert found.provider == f"{kind}-{server.address.rsplit(':', 1)[1]}"
    assert {model.name for model in found.models} == set(LEARNED[kind])


def gateway() -> bytes:
    """A Fairlead's own list: routes first, models under the names of their providers."""
    return render_list(
        [("auto", None, "fairlead"), ("qwen3:8b", Model("qwen3:8b"), "vllm")], anthropic=False
    )


NOT_LOCAL: Mapping[str, Pages] = {
    "a Fairlead": {**OLLAMA, "/v1/models": gateway()},
    "a simulated provider": {"/v1/models": model_list([Model("m")], anthropic=False)},
    "a relay to a cloud": {"/v1/models": rows("openai", "gpt-5")},
    "a relay that does not hide it": {
        "/v1/models": {"data": rows("vllm", "m")["data"] + rows("openai", "gpt-5")["data"]}
    },
    "a relay to Ollama": {"/v1/models": rows("library", "qwen3:8b")},
    "nobody says whose": {"/v1/models": {"object": "list", "data": [{"id": "m"}]}},
    "no list": {"/v1/models": {"models": ["m"]}},
    "a list of something else": {"/v1/models": {"data": [{"name": "m"}, "m", None, 7]}},
    "an empty list": {"/v1/models": rows("vllm")},
    "a page for people": {"/v1/models": reply(b"<html>hello</html>", content_type="text/html")},
    "a login": {"/v1/models": reply(rows("vllm", "m"), status=401)},
    "a redirect": {"/v1/models": reply(status=302, headers={"location": "/v1/m"})},
    "not there": {},
    "a number": {"/v1/models": b"1"},
    "half of it": {"/v1/models": json.dumps(rows("vllm", "m")).encode()[:-2]},
    "no text": {"/v1/models": b'{"data":[{"id":"\xff","owned_by":"vllm"}]}'},
    "half a character": {"/v1/models": b'{"data":[{"id":"\\ud800","owned_by":"vllm"}]}'},
    "too deep": {"/v1/models": b'{"data":' + b"[" * 500_000},
    "too large": {"/v1/models": rows("vllm", "m", padding="x" * (1 << 20))},
    "a llama.cpp that wants a key": {
        **LLAMACPP,
        "/props": reply({"error": {"message": "Invalid API Key"}}, status=401),
    },
}


@pytest.mark.parametrize("kind", ["vllm", "ollama", "lmstudio"])
@pytest.mark.parametrize("pages", NOT_LOCAL.values(), ids=NOT_LOCAL)
async def test_what_is_no_local_model_server_is_not_found(
    pages: Pages, kind: str, look: Look
) -> None:
    if kind == "ollama" and pages is NOT_LOCAL["a Fairlead"]:
        pages = {**pages, "/api/tags": {"models": [{"name": "auto"}, {"name": "qwen3:8b"}]}}

    assert await look(kind, pages) is None


async def test_one_that_stays_silent_holds_nobody_up(up: HttpUpstream, server: Scripted) -> None:
    serve(server, {"/v1/models": silent()})
    with scripted() as other:
        serve(other, VLLM)
        targets = (
            Target("ollama", "ollama", f"{server.address}/v1", True),
            Target("nobody", "vllm", "http://127.0.0.1:1/v1", True),
            Target("vllm", "vllm", f"{other.address}/v1", True),
        )

        found = await discover(up.probe, targets, timeout_s=0.2)

    assert [each.provider for each in found] == ["vllm"]


async def test_silence_about_details_is_no_detail(look: Look) -> None:
    pages = {**SGLANG, "/model_info": silent(), "/get_model_info": silent()}
    found = await look("sglang", pages, timeout_s=0.2)

    assert found is not None
    assert [(model.context_tokens, model.accepts) for model in found.models] == [(128000, TEXT)]


# What somebody declared needs no papers.


async def test_a_declared_server_is_taken_at_its_word(look: Look) -> None:
    found = await look("", {"/v1/models": rows("me", "house-7b")}, guessed=False)

    assert found is not None
    assert (found.provider, found.kind) == ("mine", "")
    assert [facts(model) for model in found.models] == [(None, TEXT, BASE, 0.45)]


async def test_a_declared_server_keeps_its_name(look: Look) -> None:
    found = await look("", VLLM, guessed=False)

    assert found is not None
    assert (found.provider, found.kind) == ("mine", "vllm")


async def test_a_declared_kind_is_believed(look: Look) -> None:
    models = await look.models("ollama", {"/v1/models": rows("someone", "m")}, guessed=False)

    assert facts(models["m"]) == (None, TEXT, ANY_JSON, UNKNOWN_STRENGTH)


async def test_another_gateway_is_never_listed_even_if_declared(look: Look) -> None:
    assert await look("", {"/v1/models": gateway()}, guessed=False) is None


# Names.


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["a", "b\n", "c\x1b[2J", "d\N{RIGHT-TO-LEFT OVERRIDE}", ""], ["a"]),
        (["x" * MAX_NAME_CHARS, "x" * (MAX_NAME_CHARS + 1)], ["x" * MAX_NAME_CHARS]),
        (["a", "b", "a"], ["a", "b"]),
        ([f"m{n}" for n in range(MAX_MODELS + 50)], [f"m{n}" for n in range(MAX_MODELS)]),
    ],
    ids=["unprintable", "long", "twice", "many"],
)
async def test_names_are_printable_short_and_not_too_many(
    names: Sequence[str], kept: Sequence[str], look: Look
) -> None:
    page = json.dumps(rows("vllm", *names)).encode()

    assert list(await look.models("vllm", {"/v1/models": page})) == kept


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("gemma3:270m", 0.25),
        ("qwen3:1.7b", 0.25),
        ("llama-3.2-3b-instruct", 0.35),
        ("gemma3n:e4b", 0.35),
        ("Mistral-7B-v0.3", 0.45),
        ("Llama-3.1-8B-Instruct-4bit", 0.45),
        ("phi4:14b", 0.5),
        ("gpt-oss:20b", 0.5),
        ("Qwen/Qwen3-30B-A3B", 0.6),
        ("mixtral-8x7b", 0.6),
        ("llama3.3:70b", 0.68),
        ("gpt-oss-120b", 0.75),
        ("deepseek-r1:671b", 0.75),
        ("phi-4", UNKNOWN_STRENGTH),
        ("web2b2c", UNKNOWN_STRENGTH),
    ],
)
async def test_strength_is_guessed_from_the_size_in_a_name(
    name: str, strength: float, look: Look
) -> None:
    models = await look.models("vllm", {"/v1/models": rows("vllm", name)})

    assert models[name].strength == strength


def test_more_parameters_are_never_weaker() -> None:
    assert list(STRENGTHS) == sorted(STRENGTHS, reverse=True)
    assert STRENGTHS[-1][0] == 0


@pytest.mark.parametrize(
    ("name", "embeds"),
    [
        ("nomic-embed-text-v1.5", True),
        ("embeddinggemma-300m", True),
        ("Qwen/Qwen3-Embedding-8B", True),
        ("BAAI/bge-m3", True),
        ("intfloat/e5-large-v2", True),
        ("all-minilm:latest", True),
        ("Qwen/Qwen3-8B", False),
        ("bgem", False),
    ],
)
async def test_an_embedding_model_is_known_by_its_name(name: str, embeds: bool, look: Look) -> None:
    models = await look.models("vllm", {"/v1/models": rows("vllm", name)})

    assert ("embed" in models[name].can) == embeds
    assert ("stream" in models[name].can) != embeds


async def test_what_neither_chats_nor_embeds_is_left_out(look: Look) -> None:
    pages = {"/v1/models": rows("vllm", "BAAI/bge-reranker-v2-m3", "m")}

    assert list(await look.models("vllm", pages)) == ["m"]


# What is told, and what is not.


async def test_one_page_tells_nothing_of_several_models(look: Look) -> None:
    """llama.cpp as a router: its properties are not those of a model."""
    pages = {**LLAMACPP, "/v1/models": rows("llamacpp", "a", "b")}

    models = await look.models("llamacpp", pages)

    assert [facts(model)[:3] for model in models.values()] == [(None, TEXT, ANY_JSON)] * 2


@pytest.mark.parametrize("caps", [{}, {"supports_tools": True}, {"supports_tools": "yes"}])
async def test_tools_are_promised_only_where_they_are_told(caps: Pages, look: Look) -> None:
    props = {**LLAMACPP["/props"], "chat_template_caps": caps}

    models = await look.models("llamacpp", {**LLAMACPP, "/props": props})

    assert all("tools" not in model.can for model in models.values())


async def test_an_ollama_that_tells_no_capabilities(look: Look) -> None:
    tags = {"models": [{"name": "llama3.1:8b"}, {"name": "bge-m3:latest"}]}
    pages = {"/v1/models": rows("library", "llama3.1:8b", "bge-m3:latest"), "/api/tags": tags}

    models = await look.models("ollama", pages)

    assert {name: model.can for name, model in models.items()} == {
        "llama3.1:8b": ANY_JSON,
        "bge-m3:latest": EMBEDS,
    }


async def test_a_remote_model_under_a_local_name_is_left_out(look: Look) -> None:
    """Ollama relays some models to its makers: a name that hides it would be called local."""
    names = ("gpt-oss:120b-cloud", "mine", "qwen3:8b")
    host = "https://ollama.com:443"
    tags = {
        "models": [
            {"name": "gpt-oss:120b-cloud", "remote_host": host},
            {"name": "mine", "remote_host": host},
            {"name": "qwen3:8b"},
        ]
    }

    models = await look.models("ollama", {"/v1/models": rows("library", *names), "/api/tags": tags})

    assert list(models) == ["gpt-oss:120b-cloud", "qwen3:8b"]


@pytest.mark.parametrize(
    ("guessed", "kept"), [(True, ["qwen3:8b"]), (False, ["qwen3:8b", "gpt-5"])]
)
async def test_what_only_a_list_knows_is_not_taken_for_local(
    guessed: bool, kept: Sequence[str], look: Look
) -> None:
    listed = {"data": rows("library", "qwen3:8b")["data"] + rows("openai", "gpt-5")["data"]}
    pages = {"/v1/models": listed, "/api/tags": {"models": [{"name": "qwen3:8b"}]}}

    assert list(await look.models("ollama", pages, guessed)) == kept


async def test_an_embedding_model_of_sglang_says_so(look: Look) -> None:
    pages = {"/v1/models": rows("sglang", "m"), "/model_info": {"is_generation": False}}

    assert (await look.models("sglang", pages))["m"].can == EMBEDS


@pytest.mark.parametrize("context", [0, -1, True, "4096", 4096.0, 1 << 40, None, [4096]])
async def test_a_limit_that_makes_no_sense_is_none(context: object, look: Look) -> None:
    models = await look.models("vllm", {"/v1/models": rows("vllm", "m", max_model_len=context)})

    assert models["m"].context_tokens is None


# The real thing.


async def test_a_real_llama_server(up: HttpUpstream, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_model(path, "llama")

    with llama_server(path) as address:
        target = Target("vllm", "vllm", f"{address}/v1", guessed=True)
        (found,) = await discover(up.probe, (target,), PATIENCE_S)

    assert (found.kind, found.provider) == ("llamacpp", f"llamacpp-{address.rsplit(':', 1)[1]}")
    (model,) = found.models
    assert model.name == "tiny"
    assert model.context_tokens == SLOT_CONTEXT_TOKENS
    assert model.accepts == TEXT
    assert {"tools", "json_schema"} <= model.can
    assert model.strength == 0.25
