"""What a provider serves when its key is found and nothing else is said: chosen by hand from what
each vendor sells now. Checked by the compiler: every one must be known whole, and lasting."""

from collections.abc import Mapping

LINEUPS: Mapping[str, tuple[str, ...]] = {
    # gpt-5.4 and its mini are here for tools, which the newer ones refuse in Chat Completions.
    "openai": (
        *("gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-5.4", "gpt-6-luna", "gpt-5.4-mini"),
        *("text-embedding-3-large", "text-embedding-3-small"),
    ),
    "anthropic": ("claude-fable-5-1", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
    "gemini": (
        *("gemini-4-argon", "gemini-3.8-flash", "gemini-3.5-flash-lite"),
        "gemini-embedding-001",
    ),
    "mistral": (
        *("mistral-large-4", "mistral-medium-3-5", "codestral-2508", "mistral-small-2603"),
        *("ministral-8b-2512", "mistral-embed"),
    ),
    "deepseek": ("deepseek-v4-pro", "deepseek-flash"),
    "xai": ("grok-4.7", "grok-4.3", "grok-build-0.1"),
    "groq": ("qwen/qwen3.8-27b", "openai/gpt-oss-120b", "openai/gpt-oss-20b"),
    "together": (
        *("moonshotai/Kimi-K3", "zai-org/GLM-5.3", "deepseek-ai/DeepSeek-V4-Pro-0813"),
        *("deepseek-ai/DeepSeek-V4.1-Flash", "zai-org/GLM-5.3-Flash", "openai/gpt-oss-120b"),
        "Qwen/Qwen3.5-9B",
    ),
    "fireworks": tuple(
        f"accounts/fireworks/models/{name}"
        for name in (
            *("kimi-k3", "glm-5p3", "deepseek-v4p1-flash", "glm-5p3-flash", "gpt-oss-20b"),
            "qwen3-embedding-8b",
        )
    ),
    "openrouter": (
        *("anthropic/claude-opus-5.5", "openai/gpt-6.1-sol", "google/gemini-4-argon"),
        *("anthropic/claude-sonnet-5.5", "google/gemini-3.8-flash", "x-ai/grok-4.7"),
        *("openai/gpt-6-luna", "anthropic/claude-haiku-5.5"),
    ),
    "cerebras": ("qwen-3.8-27b", "gpt-oss-120b"),
    "nebius": (
        *("moonshotai/Kimi-K3", "zai-org/GLM-5.3", "deepseek-ai/DeepSeek-V4-Pro-0813"),
        *("deepseek-ai/DeepSeek-V4.1-Flash", "zai-org/GLM-5.3-Flash", "Qwen/Qwen3.8-27B"),
        *("openai/gpt-oss-120b", "Qwen/Qwen3-Embedding-8B"),
    ),
    "moonshot": ("kimi-k3.1-pro", "kimi-k3"),
    "deepinfra": (
        *("moonshotai/Kimi-K3", "deepseek-ai/DeepSeek-V4-Pro-0813", "zai-org/GLM-5.2"),
        *("deepseek-ai/DeepSeek-V4.1-Flash", "Qwen/Qwen3.8-27B", "google/gemma-4-31B-it"),
        *("openai/gpt-oss-120b", "openai/gpt-oss-20b"),
    ),
    "sambanova": (
        *("MiniMax-M2.7", "DeepSeek-V3.2", "gpt-oss-120b", "Meta-Llama-3.3-70B-Instruct"),
    ),
    "perplexity": ("sonar-pro", "sonar"),
}
UNPRICED = frozenset({"perplexity"})
"""Kinds that charge for each request too, so that what they cost cannot be told in tokens."""
