"""One model under its many names: hosts' folders, variants, dates, packing and spelling."""

import pytest

from fairlead.outside.catalogue.names import bare, date_of, folded, undated


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("gpt-5", "gpt-5"),
        ("  GPT-5 ", "gpt-5"),
        ("gpt-4.1-2025-04-14", "gpt-4-1"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5-latest", "claude-sonnet-4-5"),
        ("openai/gpt-5:free", "gpt-5"),
        ("openai/gpt-5:something", "gpt-5-something"),
        ("accounts/fireworks/models/glm-5p3", "glm-5-3"),
        ("Qwen/Qwen3.8-27B-FP8", "qwen3-8-27b"),
        ("qwen3.8:27b", "qwen3-8-27b"),
        ("qwen-3.8-27b", "qwen3-8-27b"),
        ("gemma3:4b-it-q4_K_M", "gemma-3-4b"),
        ("gemma-3-4b-it-GGUF", "gemma-3-4b"),
        ("Meta-Llama-3.3-70B-Instruct-Turbo", "llama-3-3-70b"),
        ("llama-v3.3-70b-instruct", "llama-3-3-70b"),
        ("zai-org/GLM-5.3", "glm-5-3"),
        ("zai-glm-5.3", "glm-5-3"),
        ("nvidia-nemotron-nano", "nemotron-nano"),
        ("chat", "chat"),  # a name is never packing alone
        ("q4", "q4"),
        ("", ""),
    ],
)
def test_bare(name: str, of: str) -> None:
    assert bare(name) == of


@pytest.mark.parametrize(
    ("name", "without", "date"),
    [
        ("gpt-4.1-2025-04-14", "gpt-4.1", "2025-04-14"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "2025-09-29"),
        ("gpt-5", "gpt-5", ""),
        ("gpt-5-20250807-mini", "gpt-5-20250807-mini", ""),
        ("gpt-4-0613", "gpt-4-0613", ""),
    ],
)
def test_dates(name: str, without: str, date: str) -> None:
    assert (undated(name), date_of(name)) == (without, date)


def test_case_is_no_difference() -> None:
    assert folded(" Groß/GPT ") == folded("GROSS/gpt")
