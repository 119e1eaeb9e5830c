"""LiteLLM's ``model_prices_and_context_window``: one flat map, dollars per token. Broad, without
dates; absent flags mean that nobody said."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from fairlead.types.catalog import Capability, Modality, Price, Rates, Tier
from tools.catalogue.rows import UNUSABLE, Rounding, Row, number, whole

KINDS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "xai": "xai",
    "groq": "groq",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "cerebras": "cerebras",
    "nebius": "nebius",
    "moonshot": "moonshot",
    "deepinfra": "deepinfra",
    "sambanova": "sambanova",
    "perplexity": "perplexity",
}
"""The source's providers, by the kind that we know each as."""

RATES: Mapping[str, str] = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_read": "cache_read_input_token_cost",
    "cached_write": "cache_creation_input_token_cost",
    "cached_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "batch_input": "input_cost_per_token_batches",
    "batch_output": "output_cost_per_token_batches",
}
TIER = re.compile(r"^input_cost_per_token_above_(\d+)k_tokens$")
BATCHES = "_batches"

FLAGS: Mapping[Capability, str] = {
    "tools": "supports_function_calling",
    "parallel_tools": "supports_parallel_function_calling",
    "forced_tools": "supports_tool_choice",
    "json_schema": "supports_response_schema",
    "reasoning": "supports_reasoning",
    "prefill": "supports_assistant_prefill",
}
UNLESS_DENIED: Mapping[Capability, str] = {
    "system": "supports_system_messages",
    "stream": "supports_native_streaming",
    "sampling": "supports_sampling_params",
}
"""What a chat model does unless the source says that it does not."""
INPUTS: Mapping[Modality, str] = {
    "image": "supports_vision",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
    "pdf": "supports_pdf_input",
}
DEARER: Mapping[Modality, str] = {
    "image": "input_cost_per_image_token",
    "audio": "input_cost_per_audio_token",
    "video": "input_cost_per_video_token",
}
CHAT_COMPLETIONS = "/v1/chat/completions"


def rows(
    entries: Mapping[str, Mapping[str, object]], source: str, rounding: Rounding
) -> Iterator[Row]:
    """What can be used at a provider that has a kind here."""
    for key, entry in entries.items():
        kind = KINDS.get(str(entry.get("litellm_provider")))
        prefix = f"{entry.get('litellm_provider')}/"
        name = key.removeprefix(prefix)
        if name == key and prefix + key in entries:
            continue  # the same again, under the name that says where
        if kind is not None and _usable(key, name, entry):
            yield _row(kind, name, entry, source, rounding)


def unusable(entries: Mapping[str, Mapping[str, object]]) -> frozenset[tuple[str, str]]:
    """Kind and name of what is sold through other addresses than those of chat and embeddings."""
    return frozenset(
        (kind, key.removeprefix(f"{entry.get('litellm_provider')}/"))
        for key, entry in entries.items()
        if (kind := KINDS.get(str(entry.get("litellm_provider")))) and not _reachable(entry)
    )


def _reachable(entry: Mapping[str, object]) -> bool:
    endpoints = entry.get("supported_endpoints")
    return entry.get("mode") in ("chat", "embedding") and (
        not isinstance(endpoints, list) or CHAT_COMPLETIONS in endpoints
    )


def _usable(key: str, name: str, entry: Mapping[str, object]) -> bool:
    if not _reachable(entry) or UNUSABLE.search(name):
        return False
    # Classes of models by size, and a product of OpenAI's, not models to ask for.
    return not re.match(r"(together-ai|fireworks-ai)-|openai/container", key)


def _row(kind: str, name: str, entry: Mapping[str, object], source: str, rounding: Rounding) -> Row:
    embeds = entry.get("mode") == "embedding"
    asked, answered = whole(entry, "max_input_tokens"), whole(entry, "max_output_tokens")
    # An answer as long as the window is a way to say that it has no limit of its own.
    limited = answered is not None and not embeds and answered != asked
    zero = all(number(entry, RATES[rate]) == 0 for rate in ("input", "output"))
    return Row(
        kind=kind,
        name=name,
        source=source,
        embeds=embeds,
        context_tokens=asked,
        max_output_tokens=answered if limited else None,
        can=frozenset({"embed"}) if embeds else _can(entry),
        accepts=frozenset({"text"}) if embeds else _accepts(entry),
        dearer=_dearer(entry),
        prices=() if zero else tuple(_prices(entry, embeds, source, rounding)),
        says_free=zero,
        beyond_tokens=number(entry, "input_cost_per_request") is not None,
        retires=str(entry.get("deprecation_date") or ""),
    )


def _can(entry: Mapping[str, object]) -> frozenset[Capability] | None:
    """None when none of the flags that tell models apart is there."""
    said = [*FLAGS.values(), *INPUTS.values(), *UNLESS_DENIED.values()]
    if not any(flag in entry for flag in said):
        return None
    can = {able for able, flag in FLAGS.items() if entry.get(flag) is True}
    can |= {able for able, flag in UNLESS_DENIED.items() if entry.get(flag) is not False}
    if entry.get("supports_forced_tool_use") is False or "tools" not in can:
        can.discard("forced_tools")
    return frozenset(can)


def _accepts(entry: Mapping[str, object]) -> frozenset[Modality] | None:
    if not any(flag in entry for flag in (*INPUTS.values(), *FLAGS.values())):
        return None
    takes: set[Modality] = {"text"}
    takes.update(modality for modality, flag in INPUTS.items() if entry.get(flag) is True)
    return frozenset(takes)


def _dearer(entry: Mapping[str, object]) -> frozenset[Modality]:
    text = number(entry, RATES["input"]) or Decimal(0)
    return frozenset(
        modality for modality, key in DEARER.items() if (number(entry, key) or Decimal(0)) > text
    )


def _prices(
    entry: Mapping[str, object], embeds: bool, source: str, rounding: Rounding
) -> Iterator[Price]:
    rates = _rates(entry, "", embeds, rounding)
    if rates == Rates() or rates == Rates(output=0):
        return
    found = (TIER.match(key) for key in entry)
    thresholds = sorted(int(match[1]) for match in found if match)
    tiers = tuple(
        Tier(thousands * 1_000, _rates(entry, f"_above_{thousands}k_tokens", embeds, rounding))
        for thousands in thresholds
    )
    yield Price(rates=rates, tiers=tiers, source=source)


def _rates(entry: Mapping[str, object], above: str, embeds: bool, rounding: Rounding) -> Rates:
    """A zero among other figures stands for something unknown, never for a gift."""
    found: dict[str, int] = {}
    for rate, key in RATES.items():
        plain = key.removesuffix(BATCHES)
        usd = number(entry, plain + above + key[len(plain) :])
        if usd:
            found[rate] = rounding.pico_per_token(usd)
    if embeds:
        found["output"] = 0  # there is none to charge
    return Rates(**found)
