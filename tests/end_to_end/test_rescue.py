"""A stream that breaks and is gone on with, as the unmodified SDKs see it: one answer."""

from collections.abc import Iterator
from itertools import product

import pytest
from anthropic import Anthropic
from openai import OpenAI

from end_to_end.conftest import PROVIDERS, Served
from servers.canned import TEXT
from servers.gateway import create_key, gateway
from servers.plain import request
from servers.scripted import End, Scripted, scripted, stream
from servers.setup import Setup

PAIRS = [f"{one}-{two}" for one, two in product(PROVIDERS, PROVIDERS)]
ASKING = ("openai", "anthropic", "plain")
"""Each has its own endpoints: after a few breaks nobody would ask them first."""


@pytest.fixture(scope="module")
def breaking() -> Iterator[Scripted]:
    """The first endpoint of each route breaks off twice, further on the second time; its second
    one answers."""
    with scripted() as server:
        for asking, pair in product(ASKING, PAIRS):
            one, two = pair.split("-")
            frames = PROVIDERS[one]["text"].frames
            cuts = [(*stream(*frames[:count])[:-1], End.CLOSE) for count in (5, 6)]
            server.on(f"{asking}-{pair}-cut", *cuts)
            server.on(f"{asking}-{pair}-whole", PROVIDERS[two]["text"])
        yield server


@pytest.fixture(scope="module")
def mended(breaking: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("mended")
    setup = Setup()
    for asking, pair in product(ASKING, PAIRS):
        models = [f"{asking}-{pair}-{what}" for what in ("cut", "whole")]
        for model, dialect in zip(models, pair.split("-"), strict=True):
            setup.endpoint(model, breaking.address, dialect)
        setup.route(f"{asking}-{pair}", *models)
    key = create_key(folder / "data", "sdk")
    with gateway(folder, setup.text(), setup.secrets) as running:
        yield Served(running, key)


@pytest.mark.parametrize("pair", PAIRS)
def test_openais(mended: Served, breaking: Scripted, pair: str) -> None:
    base = f"{mended.gateway.address}/v1"
    with (
        OpenAI(base_url=base, api_key=mended.key, max_retries=0) as sdk,
        sdk.chat.completions.stream(
            model=f"openai-{pair}",
            messages=[{"role": "user", "content": "Hello"}],
            stream_options={"include_usage": True},
        ) as events,
    ):
        deltas = [event.delta for event in events if event.type == "content.delta"]
        answer = events.get_final_completion()

    assert "".join(deltas) == answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.completion_tokens == 30
    assert [len(breaking.asked(f"openai-{pair}-{what}")) for what in ("cut", "whole")] == [2, 1]


@pytest.mark.parametrize("pair", PAIRS)
def test_anthropics(mended: Served, breaking: Scripted, pair: str) -> None:
    with (
        Anthropic(base_url=mended.gateway.address, api_key=mended.key, max_retries=0) as sdk,
        sdk.messages.stream(
            model=f"anthropic-{pair}",
            max_tokens=500,
            messages=[{"role": "user", "content": "Hello"}],
        ) as events,
    ):
        text = "".join(events.text_stream)
        message = events.get_final_message()

    assert text == TEXT
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": TEXT}]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 30)
    assert [len(breaking.asked(f"anthropic-{pair}-{what}")) for what in ("cut", "whole")] == [2, 1]


@pytest.mark.parametrize("pair", PAIRS)
def test_it_is_told_on_record(mended: Served, pair: str) -> None:
    body = b'{"model":"plain-%b","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    got = request(
        "POST",
        f"{mended.gateway.address}/v1/chat/completions",
        body % pair.encode(),
        {"authorization": f"Bearer {mended.key}", "content-type": "application/json"},
    )

    told = mended.gateway.command_json("explain", got.request_id)

    assert got.body.endswith(b"data: [DONE]\n\n")
    assert [each["failure"] for each in told["tries"]] == ["stream_broken", "stream_broken", ""]
    models = [f"plain-{pair}-{what}" for what in ("cut", "cut", "whole")]
    assert [each["endpoint"] for each in told["tries"]] == [f"at-{one}/{one}" for one in models]
    metrics = request("GET", f"{mended.gateway.address}/metrics").body.decode()
    assert 'fairlead_rescues_total{result="whole"}' in metrics
