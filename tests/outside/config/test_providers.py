"""What goes without saying about a provider."""

import pytest

from fairlead.dialects import DIALECTS
from fairlead.outside.config import default_settings, kinds, parse
from fairlead.outside.config.kinds import KINDS, zone_of
from fairlead.outside.config.settings import ProviderSettings
from fairlead.types.catalog import Secret, Timeouts

OPENAI = Secret(id="env:OPENAI_API_KEY", env="OPENAI_API_KEY")


def provider(entry: str) -> ProviderSettings:
    return parse(f"providers: {{{entry}}}").providers[0]


def test_a_known_name_says_everything() -> None:
    known = provider("openai: ")

    assert (known.kind, known.address) == ("openai", "https://api.openai.com/v1")
    assert (known.dialect, known.signer, known.zone) == ("openai_chat", "bearer", "cloud")
    assert known.secrets == (OPENAI,)


def test_a_kind_under_another_name() -> None:
    work = provider("work: {kind: anthropic, api_key: {env: KEY_A}}")

    assert (work.dialect, work.signer) == ("anthropic_messages", "x-api-key")
    assert work.secrets == (Secret(id="env:KEY_A", env="KEY_A"),)


def test_a_name_can_belie_its_kind() -> None:
    assert provider("openai: {kind: ollama}").address == KINDS["ollama"].address


def test_what_is_stated_counts() -> None:
    stated = provider(
        "openai: {address: 'http://10.0.0.7/v1/', api_key: {env: A}, dialect: anthropic_messages,"
        " signer: x-api-key, zone: eu, timeouts: {stall: 5s}, expect: {first_token: 250ms}}"
    )

    assert stated.address == "http://10.0.0.7/v1"
    assert (stated.dialect, stated.signer, stated.zone) == ("anthropic_messages", "x-api-key", "eu")
    assert stated.timeouts == Timeouts(stall_s=5.0)
    assert (stated.first_token_ms, stated.tokens_per_s) == (250.0, KINDS["openai"].tokens_per_s)


def test_the_usual_credential_goes_to_the_usual_address_only() -> None:
    elsewhere = provider("openai: {address: 'https://proxy.example.com', signer: none}")

    assert elsewhere.secrets == ()


@pytest.mark.parametrize(
    ("entry", "signer"),
    [
        ("h: {address: 'http://127.0.0.1:1/v1'}", "none"),
        ("h: {address: 'http://127.0.0.1:1/v1', api_key: {env: A}}", "bearer"),
        ("h: {kind: vllm, api_key: {env: A}}", "bearer"),
        (
            "h: {address: 'http://127.0.0.1:1', dialect: anthropic_messages, api_key: {env: A}}",
            "x-api-key",
        ),
    ],
    ids=["no key", "a key", "a key for a local kind", "a key in another dialect"],
)
def test_how_a_key_is_presented_when_nobody_says(entry: str, signer: str) -> None:
    assert provider(entry).signer == signer


@pytest.mark.parametrize(
    ("host", "zone"),
    [
        ("localhost:8080", "local"),
        ("127.0.0.1", "local"),
        ("[::1]:8080", "local"),
        ("10.1.2.3", "local"),
        ("172.16.0.1", "local"),
        ("172.32.0.1", "cloud"),
        ("192.168.1.10:11434", "local"),
        ("[fd00::1]", "local"),
        ("[::ffff:10.0.0.1]", "local"),
        ("169.254.169.254", "cloud"),
        ("100.64.0.1", "cloud"),
        ("0.0.0.0", "cloud"),
        ("api.example.com", "cloud"),
        ("localhost.example.com", "cloud"),
        ("ollama", "cloud"),
        ("10.example.com", "cloud"),
    ],
)
def test_what_is_not_certainly_near_is_cloud(host: str, zone: str) -> None:
    assert zone_of(f"http://{host}/v1", KINDS["vllm"]) == zone


@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS.keys())
def test_every_kind_stands_on_its_own(name: str, kind: kinds.Kind) -> None:
    known = provider(f"{name}: ")

    assert known.dialect in kinds.DIALECTS
    assert known.signer in kinds.SIGNERS
    assert bool(known.address) == (kind.runs != "simulated")
    assert known.address.startswith("https://") == bool(kind.env)
    assert bool(known.secrets) == (kind.runs == "hosted") == (known.zone == "cloud")


def test_every_dialect_of_a_kind_exists() -> None:
    assert set(kinds.DIALECTS) <= set(DIALECTS)


def test_without_a_file_the_environment_says_who_is_there() -> None:
    settings = default_settings({"OPENAI_API_KEY": "x", "GROQ_API_KEY": " ", "HOME": "/root"})

    assert [each.name for each in settings.providers] == ["openai"]
    assert settings.providers[0].secrets == (OPENAI,)
