"""A tiny model with random weights, written as GGUF: nothing is downloaded, nothing makes sense.

It proves wire, timing and grammar, never quality. Four traps are built around, each found the
hard way: no space prefix (else every grammar request fails on the generation prompt),
``<|im_start|>`` as USER_DEFINED (a control token there breaks the same step), no newline between
``<tool_call>`` and its JSON (so that one biased token forces a call), byte tokens for all UTF-8.
"""

from pathlib import Path
from typing import Literal

import gguf
import numpy as np

Architecture = Literal["llama", "gemma3"]

WIDTH, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, HEAD_WIDTH = 64, 2, 4, 2, 128, 16
TRAINED_CONTEXT_TOKENS = 1 << 16
BEGIN, END_OF_TURN, UNKNOWN = 1, 4, 0
LOUDER = 12.0
"""Gemma reads its answer with the embeddings: layers as quiet as the rest would only repeat the
last token for ever."""
TOOL_CALL_TOKEN = 5
"""Bias this token up and the random model calls a tool."""

ALWAYS = {TOOL_CALL_TOKEN: 24.0, END_OF_TURN: 48.0}
ALWAYS_FROM = 8.0
"""Weights of an eager model in the one dimension that is the same whatever was said."""

CHARACTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\"{}[]:-_"

TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
Reply with <tool_call>{"name": <name>, "arguments": <object>}</tool_call><|im_end|>
{% endif %}{%- for m in messages %}{%- if m.role == "tool" %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content or "" }}{%- for call in m.tool_calls or [] -%}
<tool_call>{"name": "{{ call.function.name }}", \
"arguments": {{ call.function.arguments | tojson }}}</tool_call>{% endfor %}<|im_end|>
{% endif %}{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def vocabulary() -> tuple[list[str], list[float], list[int]]:
    kind = gguf.TokenType
    rows = [
        ("<unk>", 0.0, kind.UNKNOWN),
        ("<s>", 0.0, kind.CONTROL),
        ("</s>", 0.0, kind.CONTROL),
        ("<|im_start|>", 0.0, kind.USER_DEFINED),
        ("<|im_end|>", 0.0, kind.CONTROL),
        ("<tool_call>", 0.0, kind.USER_DEFINED),
        ("</tool_call>", 0.0, kind.USER_DEFINED),
        *((f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)),
        *((char, -1.0 - at, kind.NORMAL) for at, char in enumerate(CHARACTERS)),
    ]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def write_model(path: Path, architecture: Architecture, eager: bool = False) -> None:
    """The whole file; the same bytes each time. An ``eager`` model ends its turn at once, or as
    soon as it has called a tool where a grammar demands that first."""
    writer = gguf.GGUFWriter(path, architecture)
    tokens, scores, kinds = vocabulary()
    _describe(writer, architecture, len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END_OF_TURN)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    _fill(writer, architecture, len(tokens), eager)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, architecture: Architecture, tokens: int) -> None:
    writer.add_name(f"tiny-{architecture}-random")
    writer.add_context_length(TRAINED_CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_vocab_size(tokens)
    if architecture == "llama":
        writer.add_rope_dimension_count(HEAD_WIDTH)
    else:
        writer.add_sliding_window(512)


def _fill(writer: gguf.GGUFWriter, architecture: Architecture, tokens: int, eager: bool) -> None:
    dice = np.random.default_rng(0)
    heads, kv_heads = HEADS * HEAD_WIDTH, KV_HEADS * HEAD_WIDTH

    def noise(name: str, rows: int, columns: int, scale: float = 0.08) -> None:
        values = dice.standard_normal((rows, columns)) * scale
        if eager and rows == tokens:
            values[:, 0] = ALWAYS_FROM
            for token, weight in ALWAYS.items():
                values[token, 0] = weight
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    def ones(name: str, width: int, times: float = 1.0) -> None:
        writer.add_tensor(f"{name}.weight", np.full(width, times, np.float32))

    noise("token_embd", tokens, WIDTH, 0.5)
    ones("output_norm", WIDTH)
    if architecture == "llama":
        noise("output", tokens, WIDTH, 0.3)
    for layer in (f"blk.{number}" for number in range(LAYERS)):
        ones(f"{layer}.attn_norm", WIDTH)
        noise(f"{layer}.attn_q", heads, WIDTH)
        noise(f"{layer}.attn_k", kv_heads, WIDTH)
        noise(f"{layer}.attn_v", kv_heads, WIDTH)
        noise(f"{layer}.attn_output", WIDTH, heads)
        ones(f"{layer}.ffn_norm", WIDTH)
        noise(f"{layer}.ffn_gate", FEED_FORWARD, WIDTH)
        noise(f"{layer}.ffn_up", FEED_FORWARD, WIDTH)
        noise(f"{layer}.ffn_down", WIDTH, FEED_FORWARD)
        if architecture == "gemma3":
            ones(f"{layer}.attn_q_norm", HEAD_WIDTH)
            ones(f"{layer}.attn_k_norm", HEAD_WIDTH)
            ones(f"{layer}.post_attention_norm", WIDTH, LOUDER)
            ones(f"{layer}.post_ffw_norm", WIDTH, LOUDER)
