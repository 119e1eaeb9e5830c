"""An Anthropic stream that broke off: what its caller has, and how it is gone on with."""

import pytest

from dialects.anthropic_cases import STREAM, delta, frame, message_of, opened, started, stopped
from dialects.cases import REPLY
from fairlead.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from fairlead.dialects.dialect import Said
from fairlead.types.chat import End, Event, Resumed, TextDelta, ToolCallDelta, Usage
from servers import canned

FRAMES = canned.ANTHROPIC["text"].frames
OPEN = 3
"""The frames before the first text: a start, a ping, and the block's start."""
TEXT = opened(type="text", text="")
NOT_PLAIN = Said(plain=False)


@pytest.mark.parametrize("count", range(OPEN, len(FRAMES) - 2))
def test_another_attempt_goes_on_after_every_frame(count: int) -> None:
    passed = b"".join(FRAMES[:count])
    said = ANTHROPIC_MESSAGES.said(passed)
    rest = canned.TEXT.removeprefix(said.text)
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    end = End("stop", Usage(9, 5))

    added = [encoder.encode(Resumed(passed))]
    added += [encoder.encode(event) for event in ([TextDelta(rest)] if rest else [])]
    added.append(encoder.encode(end))

    message = message_of(b"".join((passed, *added)))
    assert message["content"] == [{"type": "text", "text": canned.TEXT}]
    assert (message["id"], message["stop_reason"]) == ("msg_canned", "end_turn")


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("count", range(1, len(FRAMES)))
def test_the_end_is_known_once_its_reason_is(count: int, relay: bool) -> None:
    decoder = ANTHROPIC_MESSAGES.decoder(STREAM, relay)
    decoder.feed(b"".join(FRAMES[:count]))

    end = decoder.ending()

    if count < len(FRAMES) - 1:
        assert end is None
    else:
        last = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        assert end == End("stop", Usage(120, 30, 100), data=last if relay else b"")


@pytest.mark.parametrize("end", [b"", frame("content_block_stop", index=0)])
def test_a_tool_call_may_follow(end: bytes) -> None:
    passed = FRAMES[0] + TEXT + delta(text="I look.") + end
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    call = ToolCallDelta(0, "call_1", "read", "{}")
    going_on: tuple[Event, ...] = (Resumed(passed), call, End("tool_calls", None))

    message = message_of(passed + b"".join([encoder.encode(event) for event in going_on]))

    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]


def test_more_text_after_a_block_that_was_stopped_is_a_new_block() -> None:
    passed = FRAMES[0] + TEXT + delta(text="One.")
    passed += frame("content_block_stop", index=0)
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    more = (TextDelta(" Two"), TextDelta(" three."))
    going_on: tuple[Event, ...] = (Resumed(passed), *more, End("stop", None))

    message = message_of(passed + b"".join([encoder.encode(event) for event in going_on]))

    assert [block["text"] for block in message["content"]] == ["One.", " Two three."]


@pytest.mark.parametrize(
    "passed",
    [
        b"".join(canned.ANTHROPIC["tools"].frames[:4]),
        b"".join(canned.ANTHROPIC["thinking"].frames[:4]),
        started() + opened(type="redacted_thinking", data="x"),
        started() + opened(type="text", text="", citations=[{"type": "page_location"}]),
        started() + TEXT + delta("citations_delta", citation={"cited_text": "a"}),
        started() + TEXT + delta(text="a") + opened(1, type="text", text=""),
        started() + opened(1, type="text", text=""),
        started() + delta(text="a"),
        started() + TEXT + delta(text="a", index=1),
        started() + TEXT + stopped(),
        started() + TEXT + frame("something_new"),
        started() + TEXT + frame("content_block_stop", index=0) + delta(text="a"),
        started() + started() + TEXT + started(),
        frame("message_start", message={"content": [{"type": "text", "text": "a"}]}),
        frame("message_start", message=3),
        frame("message_start"),
        b"data: {]\n\n",
        b"data: []\n\n",
    ],
)
def test_whatever_is_more_than_text_is_not_gone_on_with(passed: bytes) -> None:
    assert ANTHROPIC_MESSAGES.said(passed) == NOT_PLAIN


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (started() + opened(type="text", text="a", citations=None) + delta(text="b"), "ab"),
        (started() + TEXT + delta(text="a") + frame("ping") + delta(text="b"), "ab"),
        (started() + TEXT + delta(text="a") + b": hello\n\n", "a"),
        (started() + stopped(None), ""),
    ],
)
def test_what_says_nothing_does_not_count(passed: bytes, text: str) -> None:
    assert ANTHROPIC_MESSAGES.said(passed) == Said(text)
