"""The gateway as users run it: a process, a configuration file, a key, unmodified clients."""

from collections.abc import Iterator
from dataclasses import dataclass

import anthropic
import openai
import pytest

from servers import canned
from servers.gateway import Gateway, create_key, gateway
from servers.scripted import Script, Scripted, Seen, reply, scripted, stream
from servers.setup import Setup

PROVIDERS = {"openai_chat": canned.OPENAI, "anthropic_messages": canned.ANTHROPIC}
BROKEN = {"broken": "text", "broken-call": "tools"}
"""Each breaks in the midst of that answer."""


@dataclass(frozen=True)
class Served:
    """A gateway in front of every canned answer: model ``DIALECT-CASE``. The streams of the cases
    in ``BROKEN`` have no end."""

    gateway: Gateway
    key: str


@pytest.fixture(scope="session")
def vendors() -> Iterator[Scripted]:
    with scripted() as server:
        for dialect, cases in PROVIDERS.items():
            for case, answer in cases.items():
                server.on(f"{dialect}-{case}", answer)
            for case, whole in BROKEN.items():
                server.on(f"{dialect}-{case}", stream(*cases[whole].frames[:5]))
        server.on("anthropic_messages-text", message_or_count)
        server.on("openai_chat-embed", reply(canned.EMBEDDINGS))
        yield server


def message_or_count(seen: Seen) -> Script:
    if seen.path.partition("?")[0].endswith("/count_tokens"):
        return reply(canned.COUNT)
    return canned.ANTHROPIC["text"](seen)


@pytest.fixture(scope="session")
def served(vendors: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    setup = Setup()
    for dialect, cases in PROVIDERS.items():
        for case in (*cases, *BROKEN):
            setup.endpoint(f"{dialect}-{case}", vendors.address, dialect)
    setup.endpoint("openai_chat-embed", vendors.address, "openai_chat", capabilities=["embed"])
    key = create_key(folder / "data", "sdk")
    with gateway(folder, setup.text(), setup.secrets) as running:
        yield Served(running, key)


@pytest.fixture(scope="session")
def openai_client(served: Served) -> Iterator[openai.OpenAI]:
    base = f"{served.gateway.address}/v1"
    with openai.OpenAI(base_url=base, api_key=served.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def anthropic_client(served: Served) -> Iterator[anthropic.Anthropic]:
    base = served.gateway.address
    with anthropic.Anthropic(base_url=base, api_key=served.key, max_retries=0) as client:
        yield client
