"""A request with the beginning of its answer, as both dialects put it."""

import msgspec
import pytest

from dialects import anthropic_cases, openai_cases
from fairlead.dialects import DIALECTS
from fairlead.dialects.prefill import prefilled
from fairlead.types.chat import Message, Text

BODIES = {
    "openai_chat": b'{"seed":1, "messages":[{"role":"user","content":"H\\u00ef"}],"model":"m"}',
    "anthropic_messages": b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":9,'
    b'"model":"m"}',
}
ENDPOINTS = {
    "openai_chat": openai_cases.endpoint(),
    "anthropic_messages": anthropic_cases.endpoint(),
}


@pytest.mark.parametrize("to", ENDPOINTS)
@pytest.mark.parametrize("dialect", BODIES)
def test_the_answer_so_far_is_the_last_turn(dialect: str, to: str) -> None:
    spoken = DIALECTS[dialect]
    request = spoken.parse_request(BODIES[dialect], {})

    changed = prefilled(request, "Grüße,\nfrom")
    sent = DIALECTS[to].render_request(changed, ENDPOINTS[to], None).body

    said = msgspec.json.decode(sent)["messages"]
    assert said[-1] == {"role": "assistant", "content": "Grüße,\nfrom"}
    assert len(said) == 2


@pytest.mark.parametrize("dialect", BODIES)
def test_everything_else_is_as_it_was(dialect: str) -> None:
    request = DIALECTS[dialect].parse_request(BODIES[dialect], {})

    changed = prefilled(request, "x")

    assert changed == DIALECTS[dialect].parse_request(changed.body, {})
    assert changed.messages == (*request.messages, Message("assistant", (Text("x"),)))
    assert msgspec.json.decode(changed.body) == {
        **msgspec.json.decode(request.body),
        "messages": [
            *msgspec.json.decode(request.body)["messages"],
            {"role": "assistant", "content": "x"},
        ],
    }
