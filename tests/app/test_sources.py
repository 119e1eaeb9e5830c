"""What there is to serve with: from a file, from the environment, from this machine, or made up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.made import KNOWN
from fairlead.app.sources import Sources, as_if_simulated
from fairlead.outside.config import ConfigError
from fairlead.outside.discovery import USUAL
from fairlead.types.catalog import Endpoint

SIMULATED = {"sim-north", "sim-south", "sim-house"}
USUAL_PAGES = {f"{target.address}/models" for target in USUAL}
VLLM = {"data": [{"id": "qwen3-8b", "owned_by": "vllm", "max_model_len": 32768}]}


class Machine:
    """What answers on it, by URL; it notes what was asked and whether anything was simulated."""

    def __init__(self, pages: Mapping[str, Any] | None = None) -> None:
        self.pages = pages or {}
        self.asked: list[str] = []
        self.simulated = 0

    async def probe(self, url: str, _: float) -> tuple[int, Mapping[str, str], bytes] | None:
        self.asked.append(url)
        page = self.pages.get(url)
        return None if page is None else (200, {}, msgspec.json.encode(page))

    async def simulate(self) -> Sequence[Endpoint]:
        self.simulated += 1
        return await as_if_simulated()

    def sources(self, config: Path | None = None, **env: str) -> Sources:
        return Sources(config, env, KNOWN, self.probe, self.simulate)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def written(folder: Path, text: str) -> Path:
    path = folder / "fairlead.yaml"
    path.write_text(text)
    return path


def providers(endpoints: Sequence[Endpoint]) -> set[str]:
    return {endpoint.provider for endpoint in endpoints}


# Without a file.


async def test_where_there_is_nothing_the_models_are_simulated(machine: Machine) -> None:
    loaded = await machine.sources().load()

    assert loaded.falls_back
    assert providers(loaded.catalog.endpoints) == SIMULATED
    assert all(endpoint.simulated for endpoint in loaded.catalog.endpoints)
    assert set(machine.asked) == USUAL_PAGES


@pytest.mark.parametrize("blank", ["", " "])
async def test_a_key_that_is_blank_is_none(machine: Machine, blank: str) -> None:
    loaded = await machine.sources(OPENAI_API_KEY=blank).load()

    assert loaded.falls_back


async def test_keys_in_the_environment_bring_their_providers(machine: Machine) -> None:
    loaded = await machine.sources(
        OPENAI_API_KEY="sk-canary-a", ANTHROPIC_API_KEY="sk-canary-b", HOME="/"
    ).load()

    assert providers(loaded.catalog.endpoints) == {"openai", "anthropic"}
    assert not loaded.falls_back
    assert machine.simulated == 0
    assert "canary" not in repr(loaded)


async def test_a_server_on_this_machine_is_enough() -> None:
    machine = Machine({"http://127.0.0.1:8000/v1/models": VLLM})

    loaded = await machine.sources().load()

    assert [endpoint.name for endpoint in loaded.catalog.endpoints] == ["vllm/qwen3-8b"]
    assert loaded.catalog.endpoints[0].zone == "local"
    assert not loaded.falls_back


# With a file.


async def test_a_file_may_ask_for_simulated_models(machine: Machine, tmp_path: Path) -> None:
    config = written(tmp_path, "providers: {pretend: {kind: simulated}}")

    loaded = await machine.sources(config).load()

    assert providers(loaded.catalog.endpoints) == SIMULATED
    assert not loaded.falls_back
    assert machine.simulated == 1


async def test_a_file_without_providers_is_not_filled_up(machine: Machine, tmp_path: Path) -> None:
    config = written(tmp_path, "server: {discover: false}")

    loaded = await machine.sources(config, OPENAI_API_KEY="sk-canary").load()

    assert loaded.catalog.endpoints == ()
    assert not loaded.falls_back


@pytest.mark.parametrize(
    "provider",
    [
        "{kind: vllm, address: 'http://127.0.0.1:9999/v1'}",
        "{address: 'http://127.0.0.1:9999/v1'}",
        "{address: 'http://192.168.1.7:9999/v1'}",
    ],
)
async def test_a_declared_server_nearby_is_asked_for_its_models(
    tmp_path: Path, provider: str
) -> None:
    config = written(tmp_path, f"{{providers: {{rack: {provider}}}, server: {{discover: false}}}}")
    address = provider.partition("'")[2].partition("'")[0]
    machine = Machine({f"{address}/models": VLLM})

    loaded = await machine.sources(config).load()

    assert [endpoint.name for endpoint in loaded.catalog.endpoints] == ["rack/qwen3-8b"]


async def test_one_with_models_placed_at_it_is_not_asked(machine: Machine, tmp_path: Path) -> None:
    text = """
    providers: {rack: {kind: vllm, address: 'http://127.0.0.1:9999/v1'}}
    models: {qwen3-8b: rack}
    server: {discover: false}
    """

    loaded = await machine.sources(written(tmp_path, text)).load()

    assert [endpoint.name for endpoint in loaded.catalog.endpoints] == ["rack/qwen3-8b"]
    assert machine.asked == []


async def test_hosted_providers_are_not_asked(machine: Machine, tmp_path: Path) -> None:
    config = written(tmp_path, "{providers: {openai: }, server: {discover: false}}")

    await machine.sources(config, OPENAI_API_KEY="sk-canary").load()

    assert machine.asked == []


@pytest.mark.parametrize(("discover", "asked"), [("true", USUAL_PAGES), ("false", set())])
async def test_the_usual_ports_are_asked_only_if_that_is_wanted(
    machine: Machine, tmp_path: Path, discover: str, asked: set[str]
) -> None:
    await machine.sources(written(tmp_path, f"server: {{discover: {discover}}}")).load()

    assert set(machine.asked) == asked


async def test_a_usual_port_that_is_declared_is_asked_once(
    machine: Machine, tmp_path: Path
) -> None:
    await machine.sources(written(tmp_path, "providers: {ollama: }")).load()

    assert sorted(machine.asked) == sorted(USUAL_PAGES)


async def test_credentials_that_are_not_there_are_left_out_with_a_warning(
    machine: Machine, tmp_path: Path
) -> None:
    text = """
    providers:
      openai: {api_key: [{env: FIRST}, {env: SECOND}]}
      anthropic:
    server: {discover: false}
    """
    config = written(tmp_path, text)

    loaded = await machine.sources(config, SECOND="sk-canary").load()

    assert providers(loaded.catalog.endpoints) == {"openai"}
    secrets = {secret.id for each in loaded.catalog.endpoints for secret in each.secrets}
    assert secrets == {"env:SECOND"}
    told = "\n".join(loaded.settings.warnings)
    assert "FIRST is not set" in told
    assert "ANTHROPIC_API_KEY is not set" in told
    assert "is left out: it has no credential" in told


async def test_every_mistake_is_told_at_once(machine: Machine, tmp_path: Path) -> None:
    text = "providers: {openai: {dialekt: x}}\nroutes: {fast: {modles: []}}\n"

    with pytest.raises(ConfigError) as found:
        await machine.sources(written(tmp_path, text)).load()

    assert [problem.line for problem in found.value.problems] == [1, 2]
    assert machine.asked == []


async def test_a_file_that_is_not_there_is_a_mistake(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        await machine.sources(tmp_path / "none.yaml").load()
