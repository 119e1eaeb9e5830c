"""The faults of the wall, as data: what the upstream does, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from prove import faulty as f
from prove import odd
from prove.expected import FIRST_TOKEN_S, IN_TIME_S, STALL_S, WELL, WHOLE_S, Expect
from prove.faulty import DRIP_S, Play
from prove.vendors import HELD, TEXT
from servers.scripted import End


@dataclass(frozen=True)
class Fault:
    name: str
    does: str
    play: Play
    streamed: Expect | None
    """None: it cannot happen in this form."""
    whole: Expect | None
    loud: bool = False
    """It sends as fast as it can: one at a time, when the others are done."""
    vectors: bool = True
    """It can happen to vectors too."""
    calls: int = 1
    """How often the upstream is called on, one after the other."""
    listens: bool = True
    tools: bool = False
    """Asked for tool calls, not for text."""
    roomy: bool = False
    """The second endpoint's model has the larger context."""
    text: str = TEXT
    finish: Mapping[str, str] | None = None
    """The reason that is passed on, by caller, where it is not the usual end."""


def _both(expect: Expect) -> tuple[Expect, Expect]:
    return expect, expect


def _fails(failure: str, **facts: float | bool | None) -> tuple[Expect, Expect]:
    return _both(Expect(failure, **facts))  # type: ignore[arg-type]


BROKEN = Expect("stream_broken", begun=True)
"""In the middle of a text."""


def blamed(failure: str) -> Expect:
    """It broke off with an error of its own, and says it again when it is asked again."""
    return Expect("stream_broken", begun=True, or_failure=failure, comes_last=True)


UNBEGUN = Expect("stream_broken", again=True)
PARTIAL = Expect("stream_broken")
"""Of an answer in one piece."""
CUT = (BROKEN, PARTIAL)
BAD = Expect("bad_success")
SILENT = (Expect("silent", FIRST_TOKEN_S), Expect("silent", WHOLE_S))
ENDLESS = (
    # Given up for the time that it takes, or for what it says.
    Expect("stream_broken", FIRST_TOKEN_S, or_failure="silent", again=True),
    Expect("bad_success", WHOLE_S, or_failure="silent"),
)
QUOTA_TEXT = "You exceeded your current quota, please check your plan and billing details."
LONG_TEXT = "prompt is too long: 250000 tokens > 200000 maximum"
FILTER_TEXT = "The response was filtered due to the content management policy."
KEY_TEXT = "Incorrect API key provided: {ends}. You can find your API key in your account."
FILTERED = {"openai": "content_filter", "anthropic": "refusal"}
USAGE_OPENAI = {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": 1e300}
USAGE_ANTHROPIC = {"input_tokens": -5, "output_tokens": "many", "cache_read_input_tokens": 1e300}

CUTS = 16
ANYWHERE = Expect("stream_broken", anywhere=True)

FAULTS: tuple[Fault, ...] = (
    # It cannot be reached, or does not answer
    Fault("refused", "nobody listens", f.unanswered, *_fails("connect"), listens=False),
    Fault("closed", "closes without an answer", f.ended(End.CLOSE), *_fails("transient")),
    Fault("reset", "resets without an answer", f.ended(End.RESET), *_fails("transient")),
    Fault("silent", "accepts, and never answers", f.unanswered, *SILENT),
    Fault("slow-headers", "a header each 0.2 s, for ever", f.slow_headers, *SILENT),
    Fault(
        "endless-headers", "headers without end", f.endless_headers, *_fails("transient"), loud=True
    ),
    Fault(
        "endless-line",
        "a header without end",
        f.endless_header_line,
        *_fails("transient"),
        loud=True,
    ),
    Fault("no-http", "speaks another protocol", f.no_http, *_fails("transient")),
    Fault("endless-hints", "103 without end", f.endless_hints, *_fails("transient"), loud=True),
    Fault(
        "flooding",
        "pings as fast as it can, no content",
        f.flooding,
        Expect("silent", FIRST_TOKEN_S),
        Expect("bad_success", WHOLE_S, or_failure="silent"),
        loud=True,
    ),
    Fault("late", "alive, no content for ever", f.late, *SILENT),
    Fault("dripping", "a byte each 0.2 s", f.dripping_content, *SILENT, vectors=False),
    Fault(
        "slow", "first token late, but in time", f.slow(IN_TIME_S), *_both(Expect("", IN_TIME_S))
    ),
    # It says no
    Fault(
        "429-short",
        "429, `retry-after: 1`, then well",
        f.refusal(429, "rate_limit_error", headers={"retry-after": "1"}),
        *_fails("rate_limit", asks_s=1.0, recovers=True),
    ),
    Fault(
        "429-long",
        "429, `retry-after: 30`",
        f.refusal(429, "rate_limit_error", headers={"retry-after": "30"}),
        *_fails("rate_limit", asks_s=30.0),
    ),
    Fault(
        "429-bare",
        "429, and not a word",
        f.wordless(429),
        *_fails("rate_limit"),
    ),
    Fault(
        "quota",
        "429, account empty, `retry-after: 1`",
        f.by_vendor(
            f.refusal(
                429, "insufficient_quota", "insufficient_quota", QUOTA_TEXT, {"retry-after": "1"}
            ),
            f.refusal(
                429,
                "rate_limit_error",
                message="Your organization has enforced_spend_limit_reached.",
                headers={"retry-after": "1"},
            ),
        ),
        *_fails("quota"),
    ),
    Fault(
        "empty-account",
        "402, or 400 with the vendor's words",
        f.by_vendor(
            f.refusal(402, "billing", message="Insufficient Balance"),
            f.refusal(
                400, "invalid_request_error", message="Your credit balance is too low to use this."
            ),
        ),
        *_fails("quota"),
    ),
    Fault("500", "500", f.refusal(500, "api_error"), *_fails("transient")),
    Fault(
        "500-once",
        "500, then well",
        f.refusal(500, "api_error"),
        *_fails("transient", recovers=True),
    ),
    Fault("502-page", "502 with a page of HTML", f.page(502), *_fails("transient")),
    Fault(
        "503",
        "503 in the vendor's words",
        f.refusal(503, "overloaded_error"),
        *_fails("overloaded"),
    ),
    Fault("503-page", "503 with a page of HTML", f.page(503), *_fails("overloaded")),
    Fault("529", "529, and not a word", f.wordless(529), *_fails("overloaded")),
    Fault(
        "500-stalls",
        "500, and a body that never ends",
        f.stalling_refusal,
        *_fails("transient", takes_s=STALL_S),
    ),
    Fault(
        "401",
        "401, and the ends of the key",
        f.echoing(401, "authentication_error", KEY_TEXT),
        *_fails("credential"),
    ),
    Fault(
        "403",
        "403, and the whole key",
        f.echoing(403, "odd_error", "Access denied for <{key}>."),
        *_fails("credential"),
    ),
    Fault("404", "404, unknown model", f.refusal(404, "not_found_error"), *_fails("model_gone")),
    Fault("404-page", "404 with a page of HTML", f.page(404), *_fails("model_gone")),
    Fault(
        "410",
        "410, model retired",
        f.refusal(410, "invalid_request_error", message="This model is no longer available."),
        *_fails("model_gone"),
    ),
    Fault(
        "too-long",
        "400, context exceeded; nobody has more",
        f.refusal(400, "invalid_request_error", "context_length_exceeded", LONG_TEXT),
        *_fails("context_length"),
    ),
    Fault(
        "too-long-here",
        "400, context exceeded; the second has more",
        f.refusal(400, "invalid_request_error", "context_length_exceeded", LONG_TEXT),
        *_fails("context_length", elsewhere=True),
        roomy=True,
    ),
    Fault(
        "filtered",
        "400, content filter",
        f.refusal(400, "invalid_request_error", "content_filter", FILTER_TEXT),
        *_fails("content_filter"),
    ),
    Fault(
        "filtered-later",
        "breaks off by its filter, and says so",
        f.filtered,
        *_both(WELL),
        text=HELD,
        finish=FILTERED,
        vectors=False,
    ),
    Fault(
        "bad-request",
        "422, and repeats prompt and key",
        f.echoing(422, "invalid_request_error", "Not valid: {prompt} with {key}"),
        *_fails("caller_fault"),
    ),
    Fault(
        "flapping",
        "503 and well in turn, 4 calls",
        f.Flapping,
        *_fails("overloaded", recovers=True),
        calls=4,
    ),
    # A 200 that is no answer
    Fault("error-body", "200 with an error", f.error_body, *_both(BAD)),
    Fault("page", "200 with a page of HTML", f.page(200), *_both(BAD)),
    Fault("empty", "200 with nothing", f.empty_body, *_both(BAD)),
    Fault("no-choices", "200 without a choice", f.empty_choices, *_both(BAD), vectors=False),
    Fault("redirect", "307 to elsewhere", f.redirect, *_both(BAD)),
    Fault("bomb", "64 MiB of blanks in gzip, unasked", f.bomb, *_both(BAD), loud=True),
    Fault("endless", "an event, or a body, without end", f.endless, *ENDLESS, loud=True),
    Fault("bad-utf8", "a byte that is no UTF-8", f.bad_utf8, BROKEN, BAD, vectors=False),
    # An answer that breaks
    Fault("cut-unbegun", "cut before the first content", f.broken_before_content, UNBEGUN, PARTIAL),
    Fault("cut-10", "cut at a tenth", f.broken_at(0.1), *CUT),
    Fault("cut-50", "cut in the middle", f.broken_at(0.5), *CUT),
    Fault("cut-90", "reset at nine tenths", f.broken_at(0.9, End.RESET), *CUT),
    Fault("cut-character", "cut inside a character", f.broken_in_character, *CUT, vectors=False),
    *(
        Fault(
            f"cut-at-{number + 1}/{CUTS}",
            f"cut at one of {CUTS} places, from the head on",
            f.broken_after((number + 0.5) / CUTS),
            *_both(ANYWHERE),
        )
        for number in range(CUTS)
    ),
    Fault("cut-terminal", "cut before the terminal", f.broken_before_terminal, WELL, None),
    Fault("cut-finished", "cut after the finish reason", f.broken_after_reason, WELL, None),
    Fault(
        "cut-tool-terminal",
        "cut before the terminal of a tool call",
        f.tools_without_terminal,
        WELL,
        None,
        tools=True,
    ),
    Fault(
        "cut-tool",
        "cut inside a tool call",
        f.broken_in_tool_call,
        Expect("stream_broken", begun=True, is_text=False),
        PARTIAL,
        tools=True,
        vectors=False,
    ),
    Fault(
        "eof-tool",
        "ends cleanly inside a tool call",
        f.ended_in_tool_call,
        Expect("stream_broken", begun=True, is_text=False),
        None,
        tools=True,
    ),
    Fault("eof", "ends cleanly, no terminal", f.ended_early, BROKEN, BAD),
    Fault("eof-finished", "finish reason, no terminal", f.ended_without_terminal, WELL, None),
    Fault(
        "no-reason",
        "terminal, no finish reason",
        f.ended_without_reason,
        BROKEN,
        BAD,
        vectors=False,
    ),
    Fault("short", "fewer bytes than it says", f.short, *CUT),
    Fault(
        "bad-chunk",
        "a chunk of no size",
        f.bad_chunk,
        # With the head in one packet it is no answer at all.
        Expect("stream_broken", begun=True, or_failure="transient"),
        Expect("stream_broken", DRIP_S, or_failure="transient"),
    ),
    Fault(
        "stall",
        "stops speaking in the middle",
        f.stalled,
        Expect("stream_broken", STALL_S, begun=True, comes_last=True),
        Expect("silent", WHOLE_S),
    ),
    Fault(
        "stall-finished",
        "stops sending after the finish reason",
        f.stalled_before_terminal,
        Expect(takes_s=STALL_S),
        None,
    ),
    Fault(
        "stall-alive",
        "pings in the middle, for ever",
        f.stalled_alive,
        Expect("stream_broken", STALL_S, begun=True, comes_last=True),
        None,
    ),
    Fault("bad-frame", "an event of no JSON in the middle", f.bad_frame(5), BROKEN, None),
    Fault("bad-frame-first", "the first event is no JSON", f.bad_frame(0), UNBEGUN, None),
    Fault(
        "error-event",
        "an error as an event in the middle",
        f.error_event(5, "Overloaded", "overloaded_error"),
        blamed("overloaded"),
        None,
    ),
    Fault(
        "error-event-429",
        "a rate limit as an event in the middle",
        f.error_event(5, "Slow down, retry in 1s", "rate_limit_error", "rate_limit_exceeded"),
        blamed("rate_limit"),
        None,
    ),
    Fault(
        "error-event-first",
        "an error as the first event",
        f.error_event(0, "Overloaded", "overloaded_error"),
        Expect("overloaded"),
        None,
    ),
    # Odd, and well
    Fault("split-utf8", "every byte by itself", odd.in_bytes, *_both(WELL)),
    Fault("at-once", "everything in one packet", odd.at_once, *_both(WELL)),
    Fault("crlf", "events with CRLF", odd.with_carriage_returns, WELL, None),
    Fault("hints", "100 and 103 first", odd.with_hints, *_both(WELL)),
    Fault(
        "second-answer",
        "a second answer behind the first, 3 calls",
        odd.with_another_answer,
        *_both(WELL),
        calls=3,
    ),
    Fault(
        "closes-after",
        "closes after each answer without a word, 3 calls",
        odd.closing_after,
        *_both(Expect(or_failure="transient")),
        calls=3,
    ),
    Fault("http-1.0", "HTTP/1.0, ends with the connection", odd.as_http_1_0, *_both(WELL)),
    Fault("after-end", "text after the terminal", odd.with_noise_after, WELL, None),
    Fault(
        "wrong-usage",
        "usage of no sense",
        odd.with_usage(USAGE_OPENAI, USAGE_ANTHROPIC),
        *_both(WELL),
    ),
    Fault("no-usage", "usage missing", odd.with_usage(None, None), *_both(WELL)),
)
