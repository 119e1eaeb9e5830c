"""Finds the model servers of this machine, and learns of their models what they tell without being
asked to work. GET only and no credentials; sends nothing to a model.

A server that nobody declared has to say itself what it is: a relay to somebody's cloud on a usual
port would else pass for local and free.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from fairlead.outside.config.build import REMOTE_ENDINGS
from fairlead.outside.config.kinds import KINDS
from fairlead.types.catalog import Capability, Modality, Model

MAX_MODELS = 200
MAX_NAME_CHARS = 200
MAX_CONTEXT_TOKENS = 1 << 30

Probe = Callable[[str, float], Awaitable[tuple[int, Mapping[str, str], bytes] | None]]
"""GET a URL within seconds, without credentials, to a status, headers and a body of at most 1 MiB;
None when nothing usable answers."""

Page = Mapping[str, object]
"""A JSON object of a stranger: nothing in it is certain to be there."""
Ask = Callable[[str], Awaitable[Page | None]]
"""A path at the server's root to a page, or None."""


class Target(Struct, frozen=True):
    """Where to look."""

    provider: str
    kind: str
    address: str
    guessed: bool = False
    """Nobody said that a server is there."""


class Server(Struct, frozen=True):
    """A model server that answered."""

    provider: str
    kind: str
    address: str
    models: tuple[Model, ...]


class Told(Struct, frozen=True):
    """What a server tells of one model."""

    context_tokens: int | None = None
    billions: float | None = None
    """Of parameters."""
    purpose: Literal["chat", "embed", "other", ""] = ""
    accepts: frozenset[Modality] = frozenset({"text"})
    can: frozenset[Capability] = frozenset()


USUAL: tuple[Target, ...] = tuple(
    Target(name, name, kind.address, guessed=True)
    for name, kind in KINDS.items()
    if kind.runs == "local"
)

OWNERS: Mapping[str, str] = {
    "llamacpp": "llamacpp",  # github.com/ggml-org/llama.cpp, tools/server/README.md
    "vllm": "vllm",  # docs.vllm.ai/en/latest/serving/openai_compatible_server
    "sglang": "sglang",  # docs.sglang.io/basic_usage/openai_api.html
    "library": "ollama",  # docs.ollama.com/api/openai-compatibility
}
"""Kinds by what ``owned_by`` says in a list of models."""

OURS = frozenset({"fairlead", "simulated"})

OWN_PAGE = frozenset({"ollama", "lmstudio"})
"""Known by a page of their own: they write the model's publisher into ``owned_by``."""

SERVES: Mapping[str, frozenset[Capability]] = {
    # Grammars bind the answer whatever the model. Tools depend on how a server was started or on
    # the model: they count where they are told, or are stated in the configuration. vLLM refuses
    # them without --enable-auto-tool-choice, and SGLang without --tool-call-parser hands out the
    # call as text; neither tells.
    "llamacpp": frozenset({"json_object", "json_schema"}),
    "vllm": frozenset({"json_object", "json_schema"}),
    "sglang": frozenset({"json_object", "json_schema"}),
    "ollama": frozenset({"json_object", "json_schema"}),
    # Any schema but not any object: github.com/lmstudio-ai/lmstudio-bug-tracker/issues/189.
    "lmstudio": frozenset({"json_schema"}),
}

STRENGTHS = (
    (100.0, 0.75),
    (60.0, 0.68),
    (25.0, 0.6),
    (12.0, 0.5),
    (6.5, 0.45),
    (2.5, 0.35),
    (0.0, 0.25),
)
"""From so many billion parameters on. A prior for a model nobody knows; the catalogue and what is
learned here know better."""
UNKNOWN_STRENGTH = 0.4

SIZE = re.compile(r"(?<![a-z0-9.])e?(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
"""Such as 8b, 8x7b, 270m and e4b; the active part, as in a3b, is none."""
EMBEDDERS = frozenset({"bge", "gte", "e5", "minilm"})
"""Families whose names do not begin with `embed`."""


async def discover(
    probe: Probe, targets: Iterable[Target] = USUAL, timeout_s: float = 0.25
) -> tuple[Server, ...]:
    """Ask all targets at once, each for its list of models and then for what it tells of them."""
    found = await asyncio.gather(*(_look(probe, target, timeout_s) for target in targets))
    return tuple(server for server in found if server is not None)


async def _look(probe: Probe, target: Target, timeout_s: float) -> Server | None:
    async def get(url: str) -> Page | None:
        answer = await probe(url, timeout_s)
        return None if answer is None or answer[0] != 200 else _page(answer[2])

    async def ask(path: str) -> Page | None:
        return await get(target.address.removesuffix("/v1") + path)

    listed = await get(f"{target.address}/models")
    entries = list(_entries(listed, "data"))
    owners = {_text(entry, "owned_by") for entry in entries}
    if not entries or owners & OURS:
        return None
    says = _said_by(owners)
    kind = says or target.kind
    if target.guessed and not says and kind not in OWN_PAGE:
        return None
    names = _by_name(entries, "id")
    learn = LEARN.get(kind)
    told = None if learn is None else await learn(ask, names)
    if target.guessed:
        names = {name: names[name] for name in told or {}}
    models = tuple(_models(names, kind, told or {}))
    provider = target.provider
    if target.guessed and kind != target.kind:
        provider = f"{kind}-{urlsplit(target.address).port}"  # not who usually lives here
    return Server(provider, kind, target.address, models) if models else None


def _said_by(owners: Set[str]) -> str:
    """The kind that a list of models comes from, or nothing. A relay lists what is not its own."""
    kinds = {OWNERS.get(owner, "") for owner in owners}
    if len(kinds) == 1:
        return kinds.pop()
    return "ollama" if "ollama" in kinds else ""


# What each kind tells. None: it is not this kind after all, or does not let us in.


async def _llamacpp(ask: Ask, names: Mapping[str, Page]) -> Mapping[str, Told] | None:
    # github.com/ggml-org/llama.cpp, tools/server/README.md. Where a key is wanted, some versions
    # show the list of models to all, but not this page.
    props = await ask("/props")
    if props is None:
        return None
    # Of several models, /props tells nothing about any.
    return {
        name: _by_llamacpp(row, props if len(names) == 1 else {}) for name, row in names.items()
    }


def _by_llamacpp(row: Page, props: Page) -> Told:
    meta, caps = _part(row, "meta"), _part(props, "chat_template_caps")
    modalities, shape = _part(props, "modalities"), _part(row, "architecture")
    takes, gives = _words(shape, "input_modalities"), _words(shape, "output_modalities")
    can: set[Capability] = set()
    if caps.get("supports_tools") is True and caps.get("supports_tool_calls") is True:
        can.add("tools")
        if caps.get("supports_parallel_tool_calls") is True:
            can.add("parallel_tools")
    accepts: set[Modality] = {"text"}
    if modalities.get("vision") is True or "image" in takes:
        accepts.add("image")
    if modalities.get("audio") is True or "audio" in takes:
        accepts.add("audio")
    # n_ctx_train is what the model could hold, n_ctx what a slot of this server does.
    context = _count(meta, "n_ctx") or _count(_part(props, "default_generation_settings"), "n_ctx")
    parameters = meta.get("n_params")
    return Told(
        context_tokens=context,
        purpose="other" if gives and "text" not in gives else "",
        billions=parameters / 1e9 if isinstance(parameters, int) else None,
        accepts=frozenset(accepts),
        can=frozenset(can),
    )


async def _vllm(ask: Ask, names: Mapping[str, Page]) -> Mapping[str, Told]:
    """An adapter holds what its parent does, and tells nothing of its own."""
    return {
        name: Told(
            context_tokens=_count(row, "max_model_len")
            or _count(names.get(_text(row, "parent"), {}), "max_model_len")
        )
        for name, row in names.items()
    }


async def _sglang(ask: Ask, names: Mapping[str, Page]) -> Mapping[str, Told]:
    # docs.sglang.io/basic_usage/native_api.html; older versions have the longer name only.
    info = await ask("/model_info") or await ask("/get_model_info") or {}
    sees = info.get("has_image_understanding") is True
    return {
        name: msgspec.structs.replace(
            told,
            purpose="embed" if info.get("is_generation") is False else "",
            accepts=frozenset({"text", "image"}) if sees else told.accepts,
        )
        for name, told in (await _vllm(ask, names)).items()
    }


async def _lmstudio(ask: Ask, names: Mapping[str, Page]) -> Mapping[str, Told] | None:
    # lmstudio.ai/docs/developer/rest/endpoints
    rows = _by_name(_entries(await ask("/api/v0/models"), "data"), "id")
    return {name: _by_lmstudio(rows[name]) for name in names if name in rows} or None


def _by_lmstudio(row: Page) -> Told:
    kind = _text(row, "type")
    return Told(
        # A model that is not loaded yet holds no more than its maximum.
        context_tokens=_count(row, "loaded_context_length") or _count(row, "max_context_length"),
        purpose="embed" if kind == "embeddings" else "chat" if kind in ("llm", "vlm") else "",
        accepts=frozenset({"text", "image"}) if kind == "vlm" else frozenset({"text"}),
        can=frozenset({"tools"}) if "tool_use" in _words(row, "capabilities") else frozenset(),
    )


async def _ollama(ask: Ask, names: Mapping[str, Page]) -> Mapping[str, Told] | None:
    # docs.ollama.com/api/tags and docs.ollama.com/api/ps
    tags, running = await asyncio.gather(ask("/api/tags"), ask("/api/ps"))
    rows = _by_name(_entries(tags, "models"), "name")
    loaded = _by_name(_entries(running, "models"), "name")
    return {
        name: _by_ollama(name, rows[name], loaded.get(name, {})) for name in names if name in rows
    } or None


def _by_ollama(name: str, row: Page, loaded: Page) -> Told:
    has = _words(row, "capabilities")
    purpose: Literal["chat", "embed", "other", ""] = ""
    if has:
        purpose = "chat" if "completion" in has else "embed" if "embedding" in has else "other"
    if _text(row, "remote_host") and not name.endswith(REMOTE_ENDINGS):
        purpose = "other"  # runs elsewhere under a name that does not show it
    gains: Mapping[str, Capability] = {"tools": "tools", "thinking": "reasoning"}
    senses: Mapping[str, Modality] = {"vision": "image", "audio": "audio"}
    return Told(
        # How much it will hold once it is loaded, nothing tells; the rest it cuts off in silence.
        context_tokens=_count(loaded, "context_length"),
        billions=_billions(_text(_part(row, "details"), "parameter_size")),
        purpose=purpose,
        accepts=frozenset({"text", *(senses[word] for word in has & senses.keys())}),
        can=frozenset(gains[word] for word in has & gains.keys()),
    )


LEARN: Mapping[str, Callable[[Ask, Mapping[str, Page]], Awaitable[Mapping[str, Told] | None]]] = {
    "llamacpp": _llamacpp,
    "vllm": _vllm,
    "sglang": _sglang,
    "lmstudio": _lmstudio,
    "ollama": _ollama,
}


# From what is told to a model.


def _models(names: Iterable[str], kind: str, told: Mapping[str, Told]) -> Iterator[Model]:
    nothing = Told()
    for name in names:
        known = told.get(name, nothing)
        purpose = known.purpose or _purpose(name)
        if purpose == "other":
            continue
        billions = _billions(name) if known.billions is None else known.billions
        model = Model(
            name,
            context_tokens=known.context_tokens,
            strength=_strength(billions),
            open_weights=True,
        )
        if purpose == "embed":
            yield msgspec.structs.replace(model, can=frozenset({"embed"}))
        else:
            can = model.can | SERVES.get(kind, frozenset()) | known.can
            yield msgspec.structs.replace(model, accepts=known.accepts, can=can)


def _purpose(name: str) -> Literal["chat", "embed", "other"]:
    words = re.split(r"[^a-z0-9]+", name.lower())
    if any(word.startswith("rerank") for word in words):
        return "other"
    embeds = any(word in EMBEDDERS or word.startswith("embed") for word in words)
    return "embed" if embeds else "chat"


def _billions(text: str) -> float | None:
    size = SIZE.search(text.lower())
    if size is None:
        return None
    times, number, unit = size.groups()
    return int(times or 1) * float(number) / (1 if unit == "b" else 1000)


def _strength(billions: float | None) -> float:
    if billions is None:
        return UNKNOWN_STRENGTH
    return next(strength for least, strength in STRENGTHS if billions >= least)


# A stranger's JSON.


def _page(body: bytes) -> Page | None:
    try:
        page = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return page if isinstance(page, dict) else None


def _part(page: Page, name: str) -> Page:
    part = page.get(name)
    return part if isinstance(part, dict) else {}


def _text(page: Page, name: str) -> str:
    text = page.get(name)
    return text if isinstance(text, str) else ""


def _words(page: Page, name: str) -> frozenset[str]:
    words = page.get(name)
    if not isinstance(words, list):
        return frozenset()
    return frozenset(word for word in words if isinstance(word, str))


def _count(page: Page, name: str) -> int | None:
    count = page.get(name)
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count if 0 < count <= MAX_CONTEXT_TOKENS else None


def _entries(page: Page | None, name: str) -> Iterator[Page]:
    entries = None if page is None else page.get(name)
    if isinstance(entries, list):
        yield from (entry for entry in entries if isinstance(entry, dict))


def _by_name(entries: Iterable[Page], key: str) -> Mapping[str, Page]:
    """The first of each name that can be shown and typed, so many and no more."""
    found: dict[str, Page] = {}
    for entry in entries:
        name = _text(entry, key)
        if name and len(name) <= MAX_NAME_CHARS and name.isprintable() and len(found) < MAX_MODELS:
            found.setdefault(name, entry)
    return found
