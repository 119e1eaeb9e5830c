"""What the sources' flags have wrong or leave out, as tables, each with its reason. Facts only."""

from collections.abc import Mapping

from msgspec import Struct

from fairlead.types.catalog import Capability
from tools.catalogue.rows import matches


class Correction(Struct, frozen=True):
    """Applies to models whose bare name matches, at these kinds (empty: at all)."""

    models: tuple[str, ...]
    why: str
    kinds: tuple[str, ...] = ()
    gains: frozenset[Capability] = frozenset()
    loses: frozenset[Capability] = frozenset()


OPENAI_REASONERS = (
    *("o1*", "o3*", "o4*", "gpt-5*", "gpt-6*", "daybreak*", "chat-latest"),
    *("gpt-astra", "gpt-sol", "gpt-terra", "gpt-luna", "gpt-mini"),
)

CORRECTIONS = (
    Correction(
        OPENAI_REASONERS,
        "take no temperature but 1: platform.openai.com/docs/guides/reasoning",
        loses=frozenset({"sampling"}),
    ),
    Correction(
        ("gpt-5-6*", "gpt-6*", "daybreak*"),
        "refuse function tools in Chat Completions while they reason, which some cannot stop and"
        " the others do unless told; tools want /v1/responses: BerriAI/litellm pull 34569,"
        " bolna-ai/bolna pull 1019",
        kinds=("openai",),
        loses=frozenset({"tools", "parallel_tools", "forced_tools"}),
    ),
    Correction(
        ("claude-*",),
        "may call several tools at once, though no flag says so:"
        " platform.claude.com/docs/en/agents-and-tools/tool-use",
        gains=frozenset({"parallel_tools"}),
    ),
    Correction(
        (
            *("claude-fable*", "claude-mythos*", "claude-opus-5*", "claude-sonnet-5*"),
            *("claude-haiku-5*", "claude-opus-4-7*", "claude-opus-4-8*"),
            *("claude-opus", "claude-sonnet", "claude-haiku"),
        ),
        "take no sampling parameters and no prefill, at no host:"
        " platform.claude.com/docs/en/api/messages",
        loses=frozenset({"sampling", "prefill"}),
    ),
    Correction(
        ("kimi-k2-5*", "kimi-k2-6*", "kimi-k2-7*", "kimi-k3*"),
        "refuse any temperature but their own: platform.kimi.ai/docs/api/models-overview",
        kinds=("moonshot",),
        loses=frozenset({"sampling"}),
    ),
    Correction(
        ("deepseek-*",),
        "continue a last assistant turn only at a beta address and when marked to:"
        " api-docs.deepseek.com/guides/chat_prefix_completion",
        kinds=("deepseek",),
        loses=frozenset({"prefill"}),
    ),
    Correction(
        ("*",),
        "continues a last assistant turn only when marked to:"
        " docs.mistral.ai/capabilities/completion/prefix",
        kinds=("mistral",),
        loses=frozenset({"prefill"}),
    ),
)

ANTHROPIC_DIALECT = frozenset({"anthropic"})
"""Kinds whose dialect has no way to ask for any JSON object, only for one of a schema."""


def corrected(can: frozenset[Capability], kind: str, bare: str) -> frozenset[Capability]:
    if "embed" in can:
        return can
    if "json_schema" in can and kind not in ANTHROPIC_DIALECT:
        can |= {"json_object"}
    for each in CORRECTIONS:
        if matches(bare, each.models) and (not each.kinds or kind in each.kinds):
            can = (can | each.gains) - each.loses
    if "tools" not in can:
        can -= {"parallel_tools", "forced_tools"}
    return can


OPEN_WEIGHTS = (
    *("llama*", "codellama*", "code-llama*", "gemma*", "codegemma*", "gpt-oss*"),
    *("qwen*", "qwq*", "qvq*", "deepseek*", "glm-*", "kimi-k2*", "kimi-k3", "kimi-vl*"),
    *("minimax-m*", "mixtral*", "mistral-7b*", "mistral-nemo*", "open-mi*", "mistral-small*"),
    *("mistral-large-2512", "mistral-large-3", "ministral-3-*", "ministral-*-2512", "devstral*"),
    *("magistral-small*", "pixtral-12b*", "codestral-mamba*", "phi-*", "nemotron*", "nous-*"),
    *("hermes*", "olmo*", "granite*", "yi-*", "mimo-*", "step-3*", "ling-*", "inkling*", "dbrx*"),
    *("muse-glimmer*", "muse-spark-open*", "cogito*", "starcoder*", "wizardlm*", "bge-*", "e5-*"),
    *("nomic-embed*", "gte-*", "uae-*", "beam*", "intellect*", "hy3*", "hunyuan*", "seed-oss*"),
)
CLOSED = ("qwen*-max*", "qwen*-plus*", "qwen*-flash*", "qwen-*", "qwen3-coder-plus*", "glm-*-prime")
"""Sold by their makers only, though of open families."""


def open_weights(bare: str) -> bool:
    return matches(bare, OPEN_WEIGHTS) and not matches(bare, CLOSED)


LIKE: Mapping[str, str] = {
    "claude-fable": "claude-fable-5-1",
    "claude-opus": "claude-opus-5-5",
    "claude-sonnet": "claude-sonnet-5-5",
    "claude-haiku": "claude-haiku-5-5",
    "gpt-astra": "gpt-6-astra",
    "gpt-sol": "gpt-6-1-sol",
    "gpt-terra": "gpt-6-1-terra",
    "gpt-luna": "gpt-6-luna",
    "claude-fable-5-2": "claude-fable-5-1",
    "claude-mythos-5-2": "claude-mythos-5-1",
    "kimi-k3-1-pro-highspeed": "kimi-k3-1-pro",
    "kimi-k2-7-code-highspeed": "kimi-k2-7-code",
}
"""What no source describes, by the bare name of what it is a version of or stands for now."""

STILL_SERVED: Mapping[str, tuple[str, ...]] = {
    "perplexity": ("sonar", "sonar-pro", "sonar-reasoning-pro", "pplx-embed-*"),
}
"""All that is left at kinds whose lists keep what has been gone for years."""

NOT_SOLD: Mapping[str, tuple[str, ...]] = {
    "openai": ("gpt-oss*", "*.ft-"),
    "gemini": ("*-maas", "gemma-2-*", "gemini-flash-1.5*", "gemini-pro-1.5"),
    "mistral": ("*:free",),
}
"""What a list has at a kind that does not serve it under this name."""

SPELLINGS: Mapping[str, str] = {
    "claude-opus-4": "claude-opus-4-0",
    "claude-sonnet-4": "claude-sonnet-4-0",
}
"""Aliases that no rule of spelling finds."""
