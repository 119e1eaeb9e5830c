"""What the two Anthropic dialects share: names, errors, counts, and conversations that go out and
come back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.anthropic_cases import GOLDEN, answer, asked, decoded, endpoint, own
from dialects.cases import REPLY
from fairlead.dialects import DIALECTS
from fairlead.dialects.anthropic_messages import ANTHROPIC_COUNT, ANTHROPIC_MESSAGES
from fairlead.dialects.dialect import Dialect
from fairlead.types.chat import (
    End,
    Image,
    Message,
    Reasoning,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from fairlead.types.errors import (
    BadRequest,
    Failure,
    Forbidden,
    GatewayError,
    OurError,
    OverBudget,
    RateLimited,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UpstreamError,
)

COUNT = asked(operation="count")
BODY = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}'


def test_both_are_registered() -> None:
    assert DIALECTS["anthropic_messages"] is ANTHROPIC_MESSAGES
    assert DIALECTS["anthropic_count_tokens"] is ANTHROPIC_COUNT


def test_a_count_is_asked_of_an_endpoint_that_speaks_messages() -> None:
    request = ANTHROPIC_COUNT.parse_request(BODY, {})
    rendered = DIALECTS[request.dialect].render_request(request, endpoint(), 50)

    assert rendered.path == "/messages/count_tokens"
    assert rendered.body == BODY.replace(b"auto", b"upstream-model")
    assert rendered.dropped == ()


def test_a_count_is_passed_on_as_it_came_and_read() -> None:
    body = b'{"input_tokens": 42, "new": 1}'
    (end,) = decoded(body, request=COUNT, relay=True)

    assert end == End("stop", Usage(42), data=body)
    assert ANTHROPIC_COUNT.encoder(COUNT, REPLY).encode(end) == body


def test_a_count_made_elsewhere_is_written() -> None:
    encoder = ANTHROPIC_COUNT.encoder(COUNT, REPLY)

    assert encoder.encode(End("stop", Usage(42))) == b'{"input_tokens":42}'


@pytest.mark.parametrize("body", [b"", b"{}", answer(), b"<html>"])
def test_a_200_that_counts_nothing(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        decoded(body, request=COUNT, relay=True)

    assert caught.value.failure is Failure.BAD_SUCCESS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("No."), "invalid_request_error"),
        (Unauthenticated("No."), "authentication_error"),
        (OverBudget("No."), "billing_error"),
        (Forbidden("No."), "permission_error"),
        (UnknownModel("No."), "not_found_error"),
        (RequestTimeout("No."), "invalid_request_error"),
        (TooLarge("No."), "request_too_large"),
        (RateLimited("No."), "rate_limit_error"),
        (OurError("No."), "api_error"),
        (UpstreamError(Failure.TRANSIENT, "No."), "api_error"),
        (UpstreamError(Failure.OVERLOADED, "No."), "overloaded_error"),
        (UpstreamError(Failure.SILENT, "No."), "timeout_error"),
        (Unavailable("No."), "overloaded_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
@pytest.mark.parametrize("dialect", [ANTHROPIC_MESSAGES, ANTHROPIC_COUNT], ids=lambda d: d.name)
def test_errors_have_the_vendors_form(dialect: Dialect, error: GatewayError, kind: str) -> None:
    assert msgspec.json.decode(dialect.render_error(error, "r1")) == {
        "type": "error",
        "error": {
            "type": kind,
            "message": "No.",
            "details": {"error_code": error.code},
            "code": error.code,
            "should_retry": error.retryable,
        },
        "request_id": "r1",
    }


@pytest.mark.parametrize(
    ("status", "kind", "failure"),
    [
        (413, "request_too_large", Failure.CALLER_FAULT),
        (529, "overloaded_error", Failure.OVERLOADED),
    ],
)
def test_errors_of_an_endpoint_are_understood(status: int, kind: str, failure: Failure) -> None:
    body = msgspec.json.encode({"type": "error", "error": {"type": kind, "message": "No."}})
    error = ANTHROPIC_MESSAGES.parse_error(status, {"retry-after": "3"}, body)

    assert (error.failure, error.message, error.retry_after_s) == (failure, "No.", 3)
    assert (error.upstream_status, error.upstream_code) == (status, kind)


# There and back.

PLAIN = endpoint()
BUDGETED = endpoint("tools", "reasoning", "sampling", max_output_tokens=32_000)

words = st.text("abc é⚓", min_size=1, max_size=9).map(str.strip).filter(bool)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
text_parts = st.builds(Text, words, st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}]))
image_parts = st.builds(Image, st.just("image/png"), st.just("AA==")) | st.builds(
    Image, url=st.just("https://x.test/a.png")
)
calls = st.builds(ToolCall, ids, ids, st.sampled_from(["{}", '{ "a": 2.50 }']))
answered = st.builds(
    ToolResult, ids, st.lists(text_parts | image_parts, max_size=2).map(tuple), st.booleans()
)


def message(role: Role, parts: Any) -> Any:
    return st.builds(Message, st.just(role), parts)


turns = st.lists(
    st.tuples(
        message("user", st.tuples(text_parts, image_parts)),
        message("assistant", st.tuples(text_parts, calls)),
        message("tool", st.lists(answered, min_size=1, max_size=2).map(tuple)),
        message("assistant", st.tuples(text_parts)),
    ),
    min_size=1,
    max_size=3,
).map(lambda rounds: tuple(message for each in rounds for message in each))
requests = st.builds(
    Request,
    dialect=st.just("other"),
    model=st.just("upstream-model"),
    body=st.just(b""),
    messages=turns,
    stream=st.booleans(),
    max_output_tokens=st.integers(1, 10**6),
    temperature=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 100),
    stop=st.lists(words, max_size=4).map(tuple),
    tools=st.lists(
        st.builds(Tool, ids, words, st.just({"type": "object"}), st.none() | st.booleans()),
        min_size=1,
        max_size=2,
    ).map(tuple),
    tool_choice=st.none()
    | st.builds(ToolChoice, st.sampled_from(["auto", "required"]), parallel=st.booleans()),
)


@given(requests)
def test_what_is_written_is_read_back(request: Request) -> None:
    back = own(ANTHROPIC_MESSAGES.render_request(request, PLAIN, None).body)

    assert back == msgspec.structs.replace(request, dialect="anthropic_messages", body=back.body)


@pytest.mark.parametrize("case", ["request_text", "request_agent"])
def test_golden_conversations_survive_a_crossing(case: str) -> None:
    before = own(GOLDEN.wire(case))
    foreign = msgspec.structs.replace(before, dialect="other")
    after = own(ANTHROPIC_MESSAGES.render_request(foreign, BUDGETED, None).body)

    assert [shared(message) for message in after.messages] == [
        shared(message) for message in before.messages
    ]
    assert after.tool_choice == before.tool_choice
    assert [tool.schema for tool in after.tools] == [tool.schema for tool in before.tools]


def shared(message: Message) -> Any:
    return message.role, [part for part in message.parts if not isinstance(part, Reasoning)]
