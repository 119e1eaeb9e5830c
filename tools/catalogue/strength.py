"""How good a model is believed to be before any task is known: a prior, made by hand.

The scale is that of ``decide.quality``: a model answers well every second task that is as difficult
as it is strong. Flagships of the year stand near 0.95, the middle of a line-up near 0.85, what is
small and cheap near 0.7, what runs on one ordinary machine from 0.3 to 0.65. Models keep their
place as better ones come out, for tasks do not get harder; the families are put in order by what
public comparisons say of them, the steps between them are ours. Whatever is in no family is placed
by its output price, a weak sign, within narrow bounds.
"""

from collections.abc import Mapping
from decimal import Decimal

from fairlead.types.catalog import Rates
from tools.catalogue.rows import matches

UNKNOWN = 0.45
"""Of a model of no known family and no known price."""
PRICED = (0.35, 0.72)
"""Bounds of what a price alone can say."""
AT_ONE_DOLLAR, PER_DECADE = 0.5, 0.15
"""Of a model whose output costs a dollar per million tokens, and for each factor of ten."""
PICO_PER_USD_MTOK = 1_000_000

FAMILIES: tuple[tuple[float, tuple[str, ...]], ...] = (
    # Closed, by vendor, newest first.
    (0.97, ("claude-fable-5-1*", "claude-fable-5-2*", "claude-mythos-5-*", "claude-fable")),
    (0.96, ("claude-fable-5*", "claude-mythos*")),
    (0.95, ("claude-opus-5-5*", "claude-opus", "gpt-6-cyber*")),
    (0.94, ("claude-opus-5*",)),
    (0.90, ("claude-sonnet-5-5*", "claude-sonnet", "claude-opus-4-8*", "claude-opus-4-7*")),
    (0.87, ("claude-sonnet-5*", "claude-opus-4-6*")),
    (0.85, ("claude-opus-4-5*", "claude-sonnet-4-6*")),
    (0.80, ("claude-sonnet-4-5*", "claude-opus-4*", "claude-4-opus")),
    (0.72, ("claude-haiku-5-5*", "claude-haiku")),
    (0.68, ("claude-haiku-4-5*", "claude-sonnet-4*", "claude-4-sonnet", "claude-3-7*")),
    (0.62, ("claude-3-5-sonnet*",)),
    (0.50, ("claude-3-5-haiku*", "claude-3-opus*")),
    (0.40, ("claude-3-haiku*", "claude-3-sonnet*", "claude-2*", "claude-v1*")),
    (0.96, ("gpt-6-astra*", "gpt-astra")),
    (0.93, ("gpt-6-1-sol*", "gpt-6-rosalind*", "gpt-sol")),
    (
        0.92,
        ("gpt-6-sol*", "gpt-5-5*", "gpt-5-6-sol*", "gpt-5-6-cyber*", "gpt-5-6", "daybreak*", "gpt"),
    ),
    (0.88, ("gpt-5-4-pro*", "gpt-6-1-terra*", "gpt-terra", "gpt-5-2-pro*")),
    (0.86, ("gpt-5-4", "gpt-5-6-terra*", "chat-latest", "gpt-chat-latest")),
    (0.83, ("gpt-5-2*", "gpt-5-3*")),
    (0.80, ("gpt-5-1", "gpt-5", "gpt-5-1-codex", "gpt-5-1-codex-max", "o3*", "gpt-5-pro")),
    (0.74, ("gpt-5-4-mini*", "gpt-mini", "gpt-6-luna*", "gpt-luna", "gpt-5-6-luna*")),
    (0.74, ("o4-mini*", "o1", "o1-pro")),
    (0.68, ("gpt-5-mini*", "gpt-5-1-codex-mini*", "gpt-4-5*", "o3-mini*")),
    (0.62, ("gpt-4-1", "gpt-4o", "chatgpt-4o*", "o1-*", "gpt-5-4-nano*", "gpt-5-chat*")),
    (0.55, ("gpt-5-nano*", "gpt-4-1-mini*", "gpt-4-turbo*", "gpt-4-1106*")),
    (0.48, ("gpt-4o-mini*", "gpt-4-1-nano*", "gpt-4*")),
    (0.35, ("gpt-3-5*",)),
    (0.94, ("gemini-4-argon*",)),
    (0.89, ("gemini-3-1-pro*", "gemini-pro")),
    (0.85, ("gemini-3-8-flash*", "gemini-3-pro*", "gemini-3-7-flash*", "gemini-flash")),
    (0.81, ("gemini-3-6-flash*", "gemini-3-5-flash", "gemini-2-5-pro*")),
    (0.72, ("gemini-3-flash*", "gemini-3-5-flash-lite*", "gemini-flash-lite")),
    (0.66, ("gemini-3-1-flash-lite*", "gemini-2-5-flash")),
    (0.55, ("gemini-2-5-flash-lite*", "gemini-2-0*", "gemini-1-5-pro*", "gemini-exp*")),
    (0.45, ("gemini-1-5*", "gemini-1-0*", "gemini-flash-1-5*", "gemini-pro-*")),
    (0.90, ("grok-4-7*",)),
    (0.88, ("grok-4-6*", "grok-4-5*", "grok", "grok-build")),
    (0.83, ("grok-4-3*", "grok-4-20*")),
    (0.80, ("grok-4", "grok-4-0709")),
    (0.70, ("grok-4-*fast*", "grok-build*", "grok-code*", "grok-3")),
    (0.58, ("grok-3*", "grok-2*", "grok-*")),
    (0.82, ("mistral-large-4*",)),
    (0.78, ("mistral-medium-3-5*", "mistral-medium-2604", "mistral-medium", "magistral-medium*")),
    (0.68, ("mistral-large*", "mistral-medium*", "devstral-2512*", "devstral", "devstral-medium*")),
    (0.62, ("mistral-small-2603*", "mistral-small", "magistral-small*", "codestral*")),
    (0.55, ("mistral-small*", "devstral-small*", "ministral-*14b*", "pixtral-large*")),
    (0.45, ("ministral-*8b*", "mistral-saba*", "mixtral-8x22b*")),
    (0.38, ("ministral*", "mistral-nemo*", "open-mistral-nemo*", "mixtral*", "pixtral*")),
    (0.30, ("mistral-7b*", "mistral-tiny*", "open-mistral*")),
    (0.70, ("sonar-pro*", "sonar-reasoning*")),
    (0.60, ("sonar*",)),
    # Open weights.
    (0.91, ("kimi-k3-1-pro*",)),
    (0.90, ("kimi-k3*", "kimi")),
    (0.84, ("kimi-k2-6*", "kimi-k2-7*")),
    (0.76, ("kimi-k2-5*", "kimi-k2-thinking*")),
    (0.68, ("kimi-k2*",)),
    (0.86, ("deepseek-v4-pro*",)),
    (0.80, ("deepseek-v4-1-flash*", "deepseek-flash", "deepseek-pro*")),
    (0.76, ("deepseek-v4-flash*",)),
    (0.70, ("deepseek-v3-2*", "deepseek-v3-1*", "deepseek-reasoner*", "deepseek-chat-v3-1*")),
    (0.66, ("deepseek-r1-0528", "deepseek-r1", "deepseek-r1-turbo", "deepseek-chat*")),
    (0.62, ("deepseek-v3*",)),
    (0.50, ("deepseek-r1-distill*70b*", "deepseek-r1-distill*32b*")),
    (0.87, ("glm-5-3", "glm-5-3-fast*", "glm-5-3-us", "glm-5-3-spot", "glm-5-3-prime", "glm")),
    (0.85, ("glm-5-2*",)),
    (0.82, ("glm-5-1*", "glm-5")),
    (0.75, ("glm-5-3-flash*", "glm-5-*", "glm-4-7", "glm-4-6", "glm-flash")),
    (0.62, ("glm-4-5*", "glm-4-7-flash*", "glm-4-6*")),
    (0.87, ("qwen3-8-max*", "qwen3-8-2-4t*")),
    (0.85, ("qwen3-7-max*",)),
    (0.78, ("qwen3-7-plus*", "qwen3-6-plus*", "qwen3-6-max*", "qwen3-max*", "qwen3-5-397b*")),
    (0.75, ("qwen3-8-27b*", "qwen3-8-flash*", "qwen3-5-122b*", "qwen3-5-plus*")),
    (0.70, ("qwen3-6-27b*", "qwen3-6-35b*", "qwen3-5-27b*", "qwen3-5-35b*", "qwen3-7-flash*")),
    (0.66, ("qwen3-235b*", "qwen3-coder-480b*", "qwen3-coder-plus*", "qwen3-vl-235b*")),
    (0.58, ("qwen3-next*", "qwen3-coder*", "qwen3-32b*", "qwen3-30b*", "qwen3-5-9b*", "qwq*")),
    (0.50, ("qwen2-5-72b*", "qwen3-14b*", "qwen3-vl*", "qwen2-5-32b*", "qwen2-5-coder-32b*")),
    (0.40, ("qwen3-8b*", "qwen2-5-14b*", "qwen2-72b*", "qwen2-5-7b*", "qwen3-4b*")),
    (0.28, ("qwen2-*1-5b*", "qwen3-0*", "qwen3-1*", "qwen2-5-coder-7b*")),
    (0.81, ("minimax-m3*",)),
    (0.76, ("minimax-m2-7*", "minimax-m2-5*")),
    (0.68, ("minimax-m2*",)),
    (0.68, ("gpt-oss-120b*",)),
    (0.56, ("gpt-oss-20b*",)),
    (0.66, ("gemma-4-31b*",)),
    (0.60, ("gemma-4-26b*",)),
    (0.55, ("gemma-4-12b*",)),
    (0.42, ("gemma-4-e4b*", "gemma-3-27b*")),
    (0.36, ("gemma-4-e2b*", "gemma-3-12b*", "gemma-2-27b*")),
    (0.28, ("gemma*",)),
    (0.82, ("muse-spark*",)),
    (0.52, ("llama-4-maverick*", "llama-3-1-405b*", "hermes-4-405b*")),
    (0.50, ("llama-3-3-70b*", "llama-4-scout*")),
    (0.47, ("llama-3-1-70b*", "llama-3-2-90b*", "llama-3-1-nemotron-70b*")),
    (0.42, ("llama-3-70b*", "hermes-4-70b*")),
    (0.34, ("llama-3-1-8b*", "llama-3-2-11b*")),
    (0.26, ("llama-3-2-*", "llama-3-8b*", "llama-2*", "code*llama*")),
    (0.80, ("nemotron-3-ultra*", "mimo-v2-5-pro*", "mimo-v2-6-pro*")),
    (0.68, ("nemotron-3-super*", "nemotron-3-5-super*")),
    (0.52, ("nemotron-3-nano*", "nemotron-nano*", "nemotron-*lightning*")),
)
"""By bare name, the first that matches."""

EMBEDDING = 0.5
EMBEDDERS: Mapping[str, float] = {
    "text-embedding-3-large": 0.6,
    "text-embedding-3-small": 0.5,
    "text-embedding-ada-002": 0.4,
    "gemini-embedding-2": 0.62,
    "gemini-embedding-001": 0.6,
    "qwen3-embedding-8b": 0.6,
}


def strength(bare: str, rates: Rates | None, embeds: bool) -> float:
    if embeds:
        return EMBEDDERS.get(bare, EMBEDDING)
    for value, patterns in FAMILIES:
        if matches(bare, patterns):
            return value
    return by_price(rates)


def by_price(rates: Rates | None) -> float:
    if rates is None or not rates.output:
        return UNKNOWN
    decades = float((Decimal(rates.output) / PICO_PER_USD_MTOK).log10())
    least, most = PRICED
    return round(min(max(AT_ONE_DOLLAR + PER_DECADE * decades, least), most), 2)
