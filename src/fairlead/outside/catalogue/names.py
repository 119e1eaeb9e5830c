"""How one model is recognised under its many names. Text only: knows no model and no price."""

import re

DATED = re.compile(r"-(\d{4})-?(\d{2})-?(\d{2})$")
"""``-20250929`` and ``-2025-09-29`` at the end of a name."""
LATEST = "-latest"

_DECIMAL = re.compile(r"(?<=\d)p(?=\d)")
"""Fireworks writes ``glm-5p3`` where others write ``glm-5.3``."""
_VARIANT = re.compile(r":(free|batch|extended|thinking|online|nitro|floor|exacto|latest)$")
"""What OpenRouter and Ollama put behind a colon without meaning another model."""
_SEPARATORS = re.compile(r"[._:\s]")
_QUANTISED = re.compile(r"^(i?q\d+|gguf|ggml|awq|gptq|mlx|ud|int\d|\d+bit)$")
_PACKING = frozenset(
    {"instruct", "it", "hf", "chat", "fp4", "fp8", "nvfp4", "fp16", "bf16", "turbo", "maas"}
)
_SPELT = (
    (re.compile(r"^qwen-(?=\d)"), "qwen"),
    (re.compile(r"^gemma(?=\d)"), "gemma-"),
    (re.compile(r"^(meta-)?llama-?v?(?=\d)"), "llama-"),
    (re.compile(r"^(zai-(?=glm)|nvidia-(?=nemotron))"), ""),
)
"""Families that hosts do not spell alike."""


def undated(name: str) -> str:
    """Without the date of a snapshot; the name itself when it has none."""
    return DATED.sub("", name)


def date_of(name: str) -> str:
    """The ISO date that a snapshot is named after, or empty."""
    found = DATED.search(name)
    return "-".join(found.groups()) if found else ""


def folded(name: str) -> str:
    """Without differences of case."""
    return name.strip().casefold()


def bare(name: str) -> str:
    """The model behind a name at some host: without the host's folders, variants, dates and how it
    is packed. ``Qwen/Qwen3.8-27B-FP8`` and ``qwen3.8:27b`` are ``qwen3-8-27b``."""
    last = _VARIANT.sub("", folded(name)).rsplit("/", 1)[-1]
    last = undated(last).removesuffix(LATEST)
    words: list[str] = []
    for word in _SEPARATORS.sub("-", _DECIMAL.sub("-", last)).split("-"):
        if words and _QUANTISED.match(word):
            break
        words.append(word)
    while len(words) > 1 and words[-1] in _PACKING:
        words.pop()
    spelt = "-".join(words)
    for pattern, spelling in _SPELT:
        spelt = pattern.sub(spelling, spelt)
    return spelt
