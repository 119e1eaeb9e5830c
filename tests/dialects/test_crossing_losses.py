"""Nothing is lost in silence: every word of a request arrives at the endpoint, is told to be left
behind, or the request is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.cases import PLAIN
from dialects.crossings import ANTHROPIC, NEWER, OLDER, OPENAI, ask, endpoint
from fairlead.types.errors import BadRequest

# A request is built of optional members. Where a text stands in it, ``WORD`` stands here; each
# becomes a word of its own, which is then looked for.

WORD = "WORD"
TEXT = {"type": "text", "text": WORD}
STRANGE: dict[str, Any] = {"strange": {"deep": [WORD]}}
CACHED = {"cache_control": {"type": WORD}}


def some(*options: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


def members(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=options)


def with_some(base: dict[str, Any], **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    optional = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value)
        for name, value in more.items()
    }
    return st.fixed_dictionaries(
        {name: st.just(value) for name, value in base.items()}, optional=optional
    )


def a_few(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=3)


ODD = {"strange": STRANGE, **CACHED}
SCHEMA = {"type": "object", "properties": {WORD: {"type": "string", "description": WORD}}}

openai_text = with_some(TEXT, **ODD)
openai_image = st.builds(
    lambda image, more: {"type": "image_url", "image_url": image, **more},
    with_some({"url": "https://x.test/" + WORD}, detail=WORD, strange=STRANGE),
    members(strange=st.just(STRANGE)),
)
openai_foreign = st.just({"type": "input_audio", "input_audio": {"data": WORD}})
openai_function = with_some({"name": WORD, "arguments": '{"a": "WORD"}'}, strange=STRANGE)
openai_call = st.builds(
    lambda function, more: {"id": WORD, "type": "function", "function": function, **more},
    openai_function,
    members(strange=st.just(STRANGE), extra_content=st.just({"x": WORD})),
)
openai_messages = st.one_of(
    with_some({"role": "system", "content": WORD}, name=WORD, **ODD),
    st.builds(lambda parts: {"role": "user", "content": parts}, a_few(openai_text | openai_image)),
    st.builds(lambda part: {"role": "user", "content": [part]}, openai_foreign),
    with_some(
        {"role": "assistant"},
        content=WORD,
        refusal=WORD,
        reasoning_content=WORD,
        tool_calls=a_few(openai_call),
        annotations=[{"url": WORD}],
        audio={"id": WORD},
        reasoning_details=[{"data": WORD}],
        strange=STRANGE,
    ),
    with_some({"role": "tool", "tool_call_id": WORD, "content": WORD}, **ODD),
)
openai_tool = st.builds(
    lambda function, more: {"type": "function", "function": function, **more},
    with_some({"name": WORD}, description=WORD, parameters=SCHEMA, strange=STRANGE),
    members(**{name: st.just(value) for name, value in ODD.items()}),
)
openai_requests = st.builds(
    lambda messages, more: {"messages": [*messages, {"role": "user", "content": WORD}], **more},
    st.lists(openai_messages, max_size=4),
    members(
        tools=a_few(openai_tool),
        tool_choice=some("auto", {"type": "function", "function": {"name": WORD}}),
        stop=some(WORD, [WORD, WORD]),
        response_format=some(
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
            {
                "type": "json_schema",
                "json_schema": {"schema": SCHEMA, "description": WORD, "strange": WORD},
            },
            {"type": "json_object", "strange": WORD},
            {"type": "grammar", "grammar": WORD},
        ),
        reasoning_effort=some("none", "low", "max", "ponder-WORD"),
        user=st.just(WORD),
        metadata=st.just({"team": WORD}),
        stream_options=st.just({"strange": WORD}),
        service_tier=st.just(WORD),
        strange=st.just(STRANGE),
    ),
)

anthropic_text = with_some(TEXT, **ODD, citations=[{"cited_text": WORD}])
anthropic_image = with_some(
    {"type": "image", "source": {"type": "url", "url": "https://x.test/" + WORD}}, **ODD
)
anthropic_use = with_some(
    {"type": "tool_use", "id": WORD, "name": WORD, "input": {"a": WORD}}, **ODD
)
anthropic_result = st.builds(
    lambda content, more: {"type": "tool_result", "tool_use_id": WORD, "content": content, **more},
    st.just(WORD) | a_few(anthropic_text | anthropic_image),
    members(**{name: st.just(value) for name, value in ODD.items()}, is_error=st.booleans()),
)
anthropic_thought = some(
    {"type": "thinking", "thinking": WORD, "signature": WORD},
    {"type": "redacted_thinking", "data": WORD},
)
anthropic_foreign = some(
    {"type": "document", "source": {"type": "text", "data": WORD}},
    {"type": "image", "source": {"type": "file", "file_id": WORD}},
    {"type": "hologram", "data": WORD},
)
anthropic_messages = st.builds(
    lambda role, parts, more: {"role": role, "content": parts, **more},
    some("user", "assistant"),
    st.just(WORD)
    | a_few(anthropic_text | anthropic_image | anthropic_use | anthropic_result | anthropic_thought)
    | anthropic_foreign.map(lambda part: [part]),
    members(strange=st.just(STRANGE)),
)
anthropic_tool = with_some(
    {"name": WORD, "input_schema": SCHEMA},
    description=WORD,
    input_examples=[{"a": WORD}],
    defer_loading=True,
    **ODD,
)
anthropic_requests = st.builds(
    lambda messages, more: {"messages": [*messages, {"role": "user", "content": WORD}], **more},
    st.lists(anthropic_messages, max_size=4),
    members(
        system=st.just(WORD) | a_few(anthropic_text),
        tools=a_few(anthropic_tool) | st.just([{"type": "bash_20250124", "name": WORD}]),
        tool_choice=some({"type": "auto"}, {"type": "tool", "name": WORD}, {"type": WORD}),
        stop_sequences=st.just([WORD, WORD]),
        output_config=some(
            {"format": {"type": "json_schema", "schema": SCHEMA}},
            {"effort": "low", "strange": WORD},
            {"effort": WORD},
        ),
        thinking=some(
            {"type": "enabled", "budget_tokens": 2048, "strange": WORD},
            {"type": "adaptive", "display": "omitted"},
            {"type": WORD},
        ),
        metadata=st.just({"user_id": WORD}),
        service_tier=st.just(WORD),
        strange=st.just(STRANGE),
    ),
)


def worded(value: Any, path: tuple[str, ...], words: dict[str, tuple[str, ...]]) -> Any:
    """Replace every ``WORD`` by one of its own, and note where it stands."""
    if isinstance(value, dict):
        return {
            worded(name, path, words): worded(item, (*path, name), words)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [worded(item, path, words) for item in value]
    if not isinstance(value, str) or WORD not in value:
        return value
    word = f"w{len(words)}w"
    words[word] = path
    return value.replace(WORD, word)


def silent_losses(caller: str, shape: Any, can: Any) -> Iterator[str]:
    words: dict[str, tuple[str, ...]] = {}
    provider = ANTHROPIC if caller == OPENAI else OPENAI
    try:
        asked = ask(caller, provider, worded(shape, (), words), to=endpoint(provider, can))
    except BadRequest:
        return
    body = asked.rendered.body.decode()
    told = {name.split(".")[-1] for name in asked.dropped}
    for word, path in words.items():
        if word not in body and not told & {*path, *ALSO.get(path[-1], ())}:
            yield ".".join(path)


ALSO = {
    # Thoughts are left behind as a whole.
    "thinking": ("reasoning",),
    "signature": ("reasoning",),
    "data": ("reasoning",),
    "reasoning_content": ("reasoning",),
}


to_every_model = pytest.mark.parametrize(
    "can", [OLDER, NEWER, PLAIN], ids=["older", "newer", "plain"]
)


@to_every_model
@given(shape=openai_requests)
def test_nothing_of_an_openai_request_is_lost_in_silence(shape: Any, can: Any) -> None:
    assert [*silent_losses(OPENAI, shape, can)] == []


@to_every_model
@given(shape=anthropic_requests)
def test_nothing_of_an_anthropic_request_is_lost_in_silence(shape: Any, can: Any) -> None:
    assert [*silent_losses(ANTHROPIC, shape, can)] == []


NUMBERS = {
    OPENAI: {
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 7,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "max_tokens": 77,
        "n": 2,
        "logprobs": True,
        "logit_bias": {"5": 1},
        "store": True,
    },
    ANTHROPIC: {
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 7,
        "max_tokens": 77,
        "inference_geo": "eu",
    },
}
KEPT = {"max_tokens": "max_completion_tokens"}


@to_every_model
@pytest.mark.parametrize(
    ("caller", "name"), [(caller, name) for caller in NUMBERS for name in NUMBERS[caller]]
)
def test_no_number_is_lost_in_silence(caller: str, name: str, can: Any) -> None:
    value = NUMBERS[caller][name]
    provider = ANTHROPIC if caller == OPENAI else OPENAI
    try:
        asked = ask(caller, provider, {name: value}, to=endpoint(provider, can))
    except BadRequest as refusal:
        told: Any = (refusal.param,)
    else:
        told = asked.dropped
        arrived = {asked.sent.get(name), asked.sent.get(KEPT.get(name))}
        told = (name,) if value in arrived else told
    assert told == (name,)
