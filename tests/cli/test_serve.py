"""What ``fairlead serve`` prints when it has started."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from fairlead.app.parts import running
from fairlead.app.sources import Sources, as_if_simulated
from fairlead.cli.serve import greeting
from fairlead.outside import catalogue, pepper
from fairlead.outside.config.settings import Listen
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.state import keys

WIDTH = 80


async def nobody(_: str, __: float) -> None:
    return None


async def greeted(
    folder: Path, text: str | None, env: Mapping[str, str], recovered: int = 0
) -> list[str]:
    """The lines of a real gateway's greeting."""
    config = folder / "fairlead.yaml"
    if text is not None:
        config.write_text(text)
    known = catalogue.load()
    sources = Sources(None if text is None else config, env, known, nobody, as_if_simulated)
    loaded = await sources.load()
    server = replace(loaded.settings.server, listen=Listen("127.0.0.1", 0), log="none")
    async with running(loaded.catalog, server, Folder(folder / "data"), env) as gateway:
        told = greeting(loaded, replace(gateway, recovered=recovered), WIDTH)
    return "\n".join(line.plain for line in told).split("\n")


def unwrapped(lines: Sequence[str]) -> str:
    return " ".join("\n".join(lines).split())


def fits(lines: Sequence[str]) -> bool:
    """Only addresses and paths, which must not be broken, may be longer."""
    return all(len(line) <= WIDTH for line in lines if "records" not in line)


async def test_with_nothing_found(tmp_path: Path) -> None:
    lines = await greeted(tmp_path, None, {})

    text = unwrapped(lines)
    assert fits(lines)
    assert "SIMULATED" in text
    assert "OPENAI_API_KEY, ANTHROPIC_API_KEY" in text
    assert "fairlead init" in text
    assert "sim-north: 2 models (sim-large, sim-mid), at http://127.0.0.1:0 sim-south: " in text
    assert "sim-south: 4 models (sim-mid, sim-swift, sim-swift-2, sim-longview), at " in text


async def test_with_keys_in_the_environment(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": "sk-canary-1", "MISTRAL_API_KEY": "sk-canary-2"}

    lines = await greeted(tmp_path, None, env)

    text = unwrapped(lines)
    assert fits(lines)
    assert "openai: " in text
    assert "key env:OPENAI_API_KEY" in text
    assert "SIMULATED" not in text
    assert "canary" not in text


async def test_with_a_file_that_deserves_warnings(tmp_path: Path) -> None:
    text = """
providers:
  openai:
  anthropic:
models: {gpt-5-mini: openai, claude-opus-5: anthropic}
routes: {careful: {models: [claude-opus-5, gpt-5-mini]}}
"""

    lines = await greeted(tmp_path, text, {"OPENAI_API_KEY": "sk-canary"})

    warnings = [line for line in lines if line.startswith("warning: ")]
    assert len(warnings) == 3
    assert any("fairlead.yaml:4:3:" in line for line in warnings)
    assert any("careful" in line for line in lines)
    assert "openai: 1 model (gpt-5-mini), key env:OPENAI_API_KEY" in unwrapped(lines)


async def test_who_is_declared_and_serves_nothing_is_told(tmp_path: Path) -> None:
    text = """
providers:
  openai:
  house: {address: "http://127.0.0.1:9/v1", signer: none}
  sim: {kind: simulated}
"""

    lines = await greeted(tmp_path, text, {"OPENAI_API_KEY": "sk-canary"})

    [warning] = unwrapped(lines).split("warning: ")[1:]
    assert warning.startswith("house serves nothing: http://127.0.0.1:9/v1 tells of no models")
    assert fits(lines)


async def test_with_nothing_to_serve(tmp_path: Path) -> None:
    lines = await greeted(tmp_path, "server: {discover: false}", {})

    assert any("fairlead check" in line for line in lines)
    assert not any("curl" in line for line in lines)


async def test_after_a_kill(tmp_path: Path) -> None:
    lines = await greeted(tmp_path, None, {}, recovered=2)

    assert "  recovered 2 attempts of a killed process, settled in full" in lines


def command(lines: Sequence[str]) -> list[str]:
    start = next(number for number, line in enumerate(lines) if "curl" in line)
    return shlex.split("\n".join(lines[start:]).replace("\\\n", " "))


async def test_the_command_needs_no_key_where_there_is_none(tmp_path: Path) -> None:
    words = command(await greeted(tmp_path, None, {}))

    assert words[0] == "curl"
    assert words[1].endswith("/v1/chat/completions")
    assert not any("authorization" in word for word in words)


async def test_the_command_sends_a_key_once_there_is_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    keys.create(Store(folder.database), pepper.load(folder.pepper), "team", now_ms=0)

    lines = await greeted(tmp_path, None, {})

    assert fits(lines)
    assert "authorization: Bearer $FAIRLEAD_KEY" in command(lines)
