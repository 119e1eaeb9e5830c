"""The tiny real model server starts, answers, and goes when it is told to."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from servers.llama import llama_server
from servers.tiny_gguf import Architecture, write_model


def post(url: str, body: object) -> dict[str, object]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_it_answers_and_ends(architecture: Architecture, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_model(path, architecture)

    with llama_server(path) as address:
        answer = post(
            f"{address}/v1/chat/completions",
            {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
        )

    assert answer["object"] == "chat.completion"
    with pytest.raises(urllib.error.URLError):
        post(f"{address}/v1/chat/completions", {})


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_model(tmp_path / name, "llama")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
