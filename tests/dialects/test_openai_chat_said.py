"""A Chat Completions stream that broke off: what its caller has, and how it is gone on with."""

import pytest

from dialects.cases import REPLY
from dialects.openai_cases import DONE, STREAM, chunk, frame, told
from fairlead.dialects.dialect import Said
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.types.chat import End, Resumed, TextDelta, ToolCallDelta, Usage
from servers import canned

FRAMES = canned.OPENAI["text"].frames
TEXT_FRAMES = len(FRAMES) - 3
"""All before the finish reason: those that may have been passed on when a stream breaks."""
NOT_PLAIN = Said(plain=False)


@pytest.mark.parametrize("count", range(1, TEXT_FRAMES + 1))
def test_another_attempt_goes_on_after_every_frame(count: int) -> None:
    passed = b"".join(FRAMES[:count])
    said = OPENAI_CHAT.said(passed)
    rest = canned.TEXT.removeprefix(said.text)
    encoder = OPENAI_CHAT.encoder(STREAM, REPLY)

    pieces = [encoder.encode(Resumed(passed)), encoder.encode(TextDelta(rest))]
    pieces.append(encoder.encode(End("stop", Usage(9, 5))))

    events = told(passed, *pieces, request=STREAM)
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert (said.plain, "".join(texts)) == (True, canned.TEXT)
    assert events[-1] == End("stop", Usage(9, 5))
    added = b"".join(pieces)
    assert b'"role"' not in added
    assert added.count(b'"id":"chatcmpl-canned"') == added.count(b"data: {")
    assert added.count(b'"created":1760000000,"model":"canned"') == added.count(b"data: {")
    assert added.endswith(DONE)


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("count", range(1, len(FRAMES)))
def test_the_end_is_known_once_its_reason_is(count: int, relay: bool) -> None:
    decoder = OPENAI_CHAT.decoder(STREAM, relay)
    decoder.feed(b"".join(FRAMES[:count]))

    end = decoder.ending()

    if count <= TEXT_FRAMES:
        assert end is None
    else:
        assert end
        assert (end.reason, end.usage is not None) == ("stop", count > TEXT_FRAMES + 1)
        assert end.data == (b"".join((*FRAMES[TEXT_FRAMES:count], DONE)) if relay else b"")


def test_a_tool_call_may_follow() -> None:
    encoder = OPENAI_CHAT.encoder(STREAM, REPLY)
    encoder.encode(Resumed(FRAMES[0]))

    added = encoder.encode(ToolCallDelta(0, "call_1", "read", "{}"))

    assert added.startswith(b'data: {"id":"chatcmpl-canned",')
    assert b'"tool_calls"' in added
    assert added.count(b"data: ") == 1


@pytest.mark.parametrize(
    "passed",
    [
        b"".join(canned.OPENAI["tools"].frames[:2]),
        b"".join(canned.OPENAI["thinking"].frames[:2]),
        b"".join(FRAMES[:-2]),
        chunk({"content": "a"}) + chunk({"content": "b"}, index=1),
        chunk({"content": None, "refusal": "I"}),
        chunk({"content": [{"type": "text", "text": "a"}]}),
        chunk({"content": "a", "audio": {"data": "QQ=="}}),
        chunk({"content": "a", "annotations": [{"type": "url_citation"}]}),
        chunk({"content": "a", "function_call": {"name": "f"}}),
        chunk({"content": "a", "something_new": 1}),
        frame({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}]}),
        frame({"choices": ["a"]}),
        frame(["a"]),
        b"data: {]\n\n",
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
    ],
)
def test_whatever_is_more_than_text_is_not_gone_on_with(passed: bytes) -> None:
    assert OPENAI_CHAT.said(passed) == NOT_PLAIN


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (b": ping\n\n" + chunk({"role": "assistant", "content": "a"}), "a"),
        (chunk({"content": "a", "refusal": None, "tool_calls": [], "reasoning": ""}), "a"),
        (chunk({"content": "a", "token_id": 7, "token_ids": [7]}), "a"),
        (chunk({"content": "a"}) + frame({"choices": [], "usage": None}), "a"),
        (b"data: " + chunk({"content": "a"})[6:].replace(b"\n", b"\r\n"), "a"),
    ],
)
def test_what_says_nothing_does_not_count(passed: bytes, text: str) -> None:
    assert OPENAI_CHAT.said(passed) == Said(text)
