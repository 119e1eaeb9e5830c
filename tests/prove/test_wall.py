"""The short form of the wall, and its judge: what is planted must be found."""

import json
from base64 import b64encode
from urllib.parse import quote

import pytest
from prove.canaries import hits, planted
from prove.expected import Expect, expected
from prove.faults import FAULTS
from prove.heard import Raw, heard, received
from prove.judge import ASKED, HANG, LATE, TRUNCATED, WRONG, Asked, Right, faults_of
from prove.proofs.wall import complaints, figures, prove
from prove.vendors import ANTHROPIC, OPENAI, TEXT, VENDORS, Vendor
from prove.wall import Cell, Result, Run, cells, configuration
from prove.walltable import DOCUMENT, table

from servers.scripted import Script, chunk, head, reply, stream

SLACK_S = 1.0
CUT = Expect("stream_broken", begun=True)
ONCE = Asked(1, 0, ("stream_broken",))


# The run.


def test_no_fault_of_an_endpoint_reaches_a_caller_as_an_answer() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert found["faults"] == len(FAULTS)


def test_the_wall_is_as_large_as_it_says() -> None:
    every = cells(short=False)

    assert len(FAULTS) >= 30
    assert len(every) >= 240
    assert len({cell.number for cell in every}) == len({cell.name for cell in every}) == len(every)
    for short in (True, False):
        sides = {(c.caller, c.upstream.name, c.paired, c.streamed) for c in cells(short)}
        assert len(sides) == 18


def test_the_page_has_the_last_run_of_all_of_them() -> None:
    held = table([Result(cell, (), ()) for cell in cells(short=False)])

    assert held in DOCUMENT.read_text(), "run: make -s prove-json WHAT=wall"


def test_the_configuration_names_secrets_and_holds_none() -> None:
    assert "KEY_FIRST_OPENAI" in configuration(cells(short=True), "http://127.0.0.1:1", "http://x")


# The judge.


def bytes_of(script: Script) -> bytes:
    return b"".join(step for step in script if isinstance(step, bytes))


def got(script: Script, seconds: float = 0.1, in_time: bool = True) -> Raw:
    return received(bytes_of(script), in_time, seconds)


def broken(vendor: Vendor, *frames: bytes, chars: int | None = None) -> Script:
    """As a gateway ends a stream that broke: an error, and no last chunk."""
    heard_so_far = heard(vendor.name, got(stream(*frames)))
    said = {"delivered_chars": len(heard_so_far.text) if chars is None else chars}
    type = "server_error" if vendor is OPENAI else "api_error"
    error = vendor.error("It broke.", type, "upstream_stream_broken")
    error["error"] |= {"code": "upstream_stream_broken", **said}
    return stream(*frames, vendor.framed(b"error", json.dumps(error).encode()))[:-1]


def refused(vendor: Vendor, status: int, type: str, code: str) -> Script:
    headers = {"x-should-retry": "false"}
    return reply(vendor.error("No.", type, code), status=status, headers=headers)


def kinds(
    vendor: Vendor,
    expect: Expect,
    raw: Raw,
    asked: Asked = ONCE,
    paired: bool = False,
    tools: bool = False,
) -> set[str]:
    want = expected(expect, paired)
    wrong = faults_of(want, Right(vendor.name, tools), raw, asked, SLACK_S)
    return {line.partition(":")[0] for line in wrong}


both = pytest.mark.parametrize("vendor", VENDORS.values(), ids=lambda vendor: vendor.name)


@both
def test_what_is_right_is_held_right(vendor: Vendor) -> None:
    frames = vendor.text.frames
    silent = Asked(1, 0, ("silent",))
    type = "server_error" if vendor is OPENAI else "timeout_error"

    assert kinds(vendor, Expect(), got(vendor.answer(True)), Asked(1, 0, ("",))) == set()
    assert kinds(vendor, Expect(), got(vendor.answer(False)), Asked(1, 0, ("",))) == set()
    assert kinds(vendor, CUT, got(broken(vendor, *frames[:7]))) == set()
    timed_out = refused(vendor, 504, type, "upstream_timeout")
    assert kinds(vendor, Expect("silent"), got(timed_out), silent) == set()
    calls = got(stream(*vendor.tools.frames))
    assert kinds(vendor, Expect(), calls, Asked(1, 0, ("",)), tools=True) == set()


@both
def test_a_planted_truncation_is_found(vendor: Vendor) -> None:
    frames, end = vendor.text.frames, vendor.closing
    missing = stream(*frames[:7], *frames[8:])
    whole = bytes_of(reply(json.dumps(vendor.text.whole).encode().replace(b"harbour", b"harbor_")))
    error = broken(vendor, *frames[:7])
    tools = vendor.tools.frames

    assert kinds(vendor, CUT, got(missing)) == {TRUNCATED}
    assert kinds(vendor, CUT, got(stream(*frames[:7], *frames[-end:]))) == {TRUNCATED}
    assert kinds(vendor, CUT, received(whole, True, 0.1)) == {TRUNCATED}
    # An error in a transfer that ends as if nothing had happened, and no error at all.
    assert TRUNCATED in kinds(vendor, CUT, got((*error, b"0\r\n\r\n")))
    assert TRUNCATED in kinds(vendor, CUT, got(stream(*frames[:7])))
    half = stream(*tools[: -end - 1], *tools[-end:])
    assert TRUNCATED in kinds(vendor, CUT, got(half), tools=True)


@both
def test_a_planted_wrong_class_is_found(vendor: Vendor) -> None:
    frames = vendor.text.frames
    error = vendor.error_frame("It broke.", "server_error", "upstream_stream_broken")
    asked = Asked(1, 0, ("silent",))
    wrong: dict[str, Raw] = {
        "another status": got(refused(vendor, 502, "api_error", "upstream_timeout")),
        "another code": got(refused(vendor, 504, "api_error", "upstream_error")),
        "no word of retrying": got(reply(vendor.error("No.", "timeout_error"), status=504)),
        "an answer": got(vendor.answer(False)),
    }
    for name, raw in wrong.items():
        assert kinds(vendor, Expect("silent"), raw, asked) == {WRONG}, name
    streams: dict[str, Script] = {
        "twice": (*broken(vendor, *frames[:7]), chunk(error)),
        "another length": broken(vendor, *frames[:7], chars=4),
        "text after it": (*broken(vendor, *frames[:7]), chunk(frames[7])),
        "an end after it": (*broken(vendor, *frames[:7]), chunk(frames[-1])),
        "other words": broken(vendor, *frames[:4], *frames[5:7]),
        "no error": stream(*frames[:7])[:-1],
        "no UTF-8": stream(*frames[:4], frames[4].replace(b'"', b'"\xff', 9))[:-1],
        "no HTTP": (head(200, {"content-type": "text/event-stream"}), *frames),
    }
    for name, script in streams.items():
        assert WRONG in kinds(vendor, CUT, got(script)), name


def test_when_to_come_back_is_told() -> None:
    asked, later = Asked(1, 0, ("rate_limit",)), Expect("rate_limit", asks_s=30.0)
    error = OPENAI.error("No.", "rate_limit_error", "rate_limit_exceeded")

    def told(**headers: str) -> set[str]:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return kinds(OPENAI, later, got(reply(error, status=429, headers=named)), asked)

    assert told(x_should_retry="true", retry_after="30") == set()
    assert told(x_should_retry="true", retry_after="5") == {WRONG}
    assert told(x_should_retry="true") == {WRONG}
    assert told(x_should_retry="false", retry_after="30") == {WRONG}


@both
def test_two_ends_are_one_too_many(vendor: Vendor) -> None:
    raw = got(stream(*vendor.text.frames, vendor.text.frames[-1]))

    assert kinds(vendor, Expect(), raw, Asked(1, 0, ("",))) == {WRONG}


def test_what_is_late_or_never_is_found() -> None:
    right, asked = vendor_answer(), Asked(1, 0, ("",))

    assert kinds(OPENAI, Expect("", 1.0), got(right, 1.9), asked) == set()
    assert kinds(OPENAI, Expect("", 1.0), got(right, 2.1), asked) == {LATE}
    assert kinds(OPENAI, Expect(), got(right[:3], 20.0, in_time=False), asked) == {HANG}


def vendor_answer() -> tuple[bytes, ...]:
    return tuple(step for step in OPENAI.answer(True) if isinstance(step, bytes))


@pytest.mark.parametrize(
    ("asked", "expect", "paired", "wrong"),
    [
        (Asked(1, 1, ("silent",)), Expect("silent"), True, set()),
        (Asked(2, 1, ("silent", "silent")), Expect("silent"), True, {ASKED}),
        (Asked(1, 2, ("silent",)), Expect("silent"), True, {ASKED}),
        (Asked(1, 0, ("silent",)), Expect("silent"), True, {ASKED}),
        (Asked(1, 1, ("transient",)), Expect("silent"), True, {WRONG}),
        (Asked(1, 1, ("",)), Expect("silent"), True, {WRONG}),
        (Asked(1, 1, ("",)), Expect(), True, {ASKED}),
        (Asked(2, 0, ("transient", "")), Expect("transient", recovers=True), False, set()),
        (Asked(1, 0, ("transient",)), Expect("transient", recovers=True), False, {ASKED}),
        (Asked(3, 0, ("transient", "")), Expect("transient", recovers=True), False, {ASKED}),
    ],
    ids=str,
)
def test_who_was_asked_is_counted(
    asked: Asked, expect: Expect, paired: bool, wrong: set[str]
) -> None:
    assert kinds(ANTHROPIC, expect, got(ANTHROPIC.answer(True)), asked, paired=paired) == wrong


def test_a_figure_that_is_not_nought_is_not_ok() -> None:
    cell: Cell = cells(short=True)[0]
    for run in (
        Run([Result(cell, (), (f"{HANG}: for ever",))], alive=True),
        Run([Result(cell, (), ())], canaries=["a key in the log"], alive=True),
        Run([Result(cell, (), ())], canary_asked=1, alive=True),
        Run([Result(cell, (), ())], unsettled=["an attempt"], alive=True),
        Run([Result(cell, (), ())], left_open=1, alive=True),
        Run([Result(cell, (), ())], alive=False),
    ):
        assert figures(run)["ok"] is False
    assert figures(Run([Result(cell, (), ())], alive=True))["ok"] is True
    assert complaints(Run([Result(cell, (), ("late: 9 s",))]))


# The secrets.


@pytest.mark.parametrize("shift", range(3))
def test_a_secret_is_found_in_every_dress(shift: int) -> None:
    secret = planted()
    raw = secret.encode()
    dresses = {
        "plain": raw,
        "encoded for a URL": quote(secret, safe="").encode(),
        "in base64, behind a name": b64encode(b"user: "[: 3 + shift] + raw + b"!" * shift),
        "its beginning": raw[:8],
        "its end": raw[-8:],
    }

    for name, dress in dresses.items():
        assert hits({"key": secret}, {"the log": b"x" * 7 + dress + b"y"}) == ["key in the log"], (
            name
        )
    assert hits({"key": secret}, {"the log": planted().encode() + TEXT.encode()}) == []
