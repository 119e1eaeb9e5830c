"""The providers that have a name here: where they are and how they are spoken to. A table."""

import ipaddress
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

DIALECTS = ("openai_chat", "anthropic_messages")
"""Those that an endpoint can be asked in."""

SIGNERS = ("none", "bearer", "x-api-key")
"""Names in ``outside.signers``."""

SIGNER_OF: Mapping[str, str] = {"openai_chat": "bearer", "anthropic_messages": "x-api-key"}
"""How a credential is presented when nobody says."""

PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("127.0.0.0/8", "::1/128"),  # loopback
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),  # RFC 1918
        "fc00::/7",  # RFC 4193
    )
)


class Kind(Struct, frozen=True):
    """What is true of every provider of this kind unless its settings say otherwise."""

    address: str = ""
    env: str = ""
    """Variable that its credential is usually in."""
    dialect: str = "openai_chat"
    signer: str = "bearer"
    first_token_ms: float = 800.0
    tokens_per_s: float = 60.0
    runs: Literal["hosted", "local", "simulated"] = "hosted"
    """``local`` servers serve whatever is loaded, and charge nothing for a token."""


def local(address: str) -> Kind:
    return Kind(address, signer="none", first_token_ms=400.0, tokens_per_s=40.0, runs="local")


KINDS: Mapping[str, Kind] = {
    "openai": Kind("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": Kind(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        dialect="anthropic_messages",
        signer="x-api-key",
        first_token_ms=1000.0,
    ),
    # Google's OpenAI-compatible address: ai.google.dev/gemini-api/docs/openai.
    "gemini": Kind(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        first_token_ms=700.0,
        tokens_per_s=120.0,
    ),
    "mistral": Kind("https://api.mistral.ai/v1", "MISTRAL_API_KEY", first_token_ms=500.0),
    "deepseek": Kind("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", first_token_ms=1500.0),
    "xai": Kind("https://api.x.ai/v1", "XAI_API_KEY"),
    "groq": Kind(
        "https://api.groq.com/openai/v1", "GROQ_API_KEY", first_token_ms=300.0, tokens_per_s=300.0
    ),
    "together": Kind("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "fireworks": Kind("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "openrouter": Kind("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", first_token_ms=1000.0),
    "cerebras": Kind(
        "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", first_token_ms=300.0, tokens_per_s=1000.0
    ),
    "nebius": Kind("https://api.tokenfactory.nebius.com/v1", "NEBIUS_API_KEY"),
    "moonshot": Kind("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", first_token_ms=1000.0),
    "deepinfra": Kind("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "sambanova": Kind("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", tokens_per_s=200.0),
    "perplexity": Kind("https://api.perplexity.ai", "PERPLEXITY_API_KEY", first_token_ms=1500.0),
    "ollama": local("http://127.0.0.1:11434/v1"),
    "lmstudio": local("http://127.0.0.1:1234/v1"),
    "llamacpp": local("http://127.0.0.1:8080/v1"),
    "vllm": local("http://127.0.0.1:8000/v1"),
    "sglang": local("http://127.0.0.1:30000/v1"),
    "simulated": Kind(signer="none", runs="simulated"),
}


def runs(kind: str) -> str:
    """``hosted``, ``local`` or ``simulated``; a provider of no kind is hosted by somebody."""
    return KINDS[kind].runs if kind in KINDS else "hosted"


def is_private(host: str) -> bool:
    """Whether ``host`` is certainly this machine or its own network. A name that only DNS could
    resolve is not: it is better to call a local server ``cloud`` than the reverse."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in PRIVATE)


def zone_of(address: str, kind: Kind) -> str:
    """The zone of a provider whose settings name none."""
    near = kind.runs == "simulated" or is_private(urlsplit(address).hostname or "")
    return "local" if near else "cloud"
