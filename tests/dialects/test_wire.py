"""Splicing, plain words for bad JSON, tool names, narrowing."""

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.dialects import wire
from fairlead.types.chat import Narrowing
from fairlead.types.errors import BadRequest


@pytest.mark.parametrize(
    ("changes", "remove", "expected"),
    [
        pytest.param(
            {"a": 2}, (), rb'{"a":2,"b":[1.0, 1e2, "\u00e9"],"c":{ "d" : null }}', id="change"
        ),
        pytest.param(
            {"e": msgspec.Raw(b"[ ]")},
            (),
            rb'{"a":1,"b":[1.0, 1e2, "\u00e9"],"c":{ "d" : null },"e":[ ]}',
            id="add raw",
        ),
        pytest.param({}, ("b", "x"), b'{"a":1,"c":{ "d" : null }}', id="remove"),
    ],
)
def test_splice_keeps_the_bytes_of_every_other_value(
    changes: dict[str, Any], remove: tuple[str, ...], expected: bytes
) -> None:
    body = rb'{"a": 1, "b": [1.0, 1e2, "\u00e9"], "c": { "d" : null }}'

    assert wire.splice(body, changes, remove) == expected


def test_a_request_has_as_many_fields_as_any_vendor_could_know() -> None:
    body = {str(number): number for number in range(wire.MOST_MEMBERS)}

    assert len(wire.members_of_request(msgspec.json.encode(body))) == wire.MOST_MEMBERS
    with pytest.raises(BadRequest, match="more than 1,000 fields"):
        wire.members_of_request(msgspec.json.encode(body | {"more": 1}))


def test_splice_without_changes_gives_the_same_object() -> None:
    body = b'{"a": 1}'

    assert wire.splice(body, {}) is body


class Inner(msgspec.Struct):
    role: str


class Outer(msgspec.Struct):
    items: list[Inner]
    count: int | None = None
    content: str | list[int] | None = None


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (b"{", "The body is not valid JSON: it ends too early, or there is none.", None),
        (b"", "The body is not valid JSON: it ends too early, or there is none.", None),
        (b"{x}", "The body is not valid JSON: object keys must be strings (byte 1).", None),
        (b'{"items":[],"count":NaN}', "The body is not valid JSON", None),
        (b'{"content":"\xff"}', "The body is not valid UTF-8.", None),
        (b'{"z":' + b"[" * 100_000, "The body is nested too deep.", None),
        (b"[]", "The body: expected an object, got a list.", None),
        (b"{}", "items: this field is required.", "items"),
        (b'{"items":[{}]}', "items[0].role: this field is required.", "items[0].role"),
        (
            b'{"items":[{"role":1}]}',
            "items[0].role: expected a string, got an integer.",
            "items[0].role",
        ),
        (
            b'{"items":[],"count":true}',
            "count: expected an integer, got true or false.",
            "count",
        ),
        (
            b'{"items":[],"content":1}',
            "content: expected a string or a list, got an integer.",
            "content",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_json_is_told_in_plain_words(body: bytes, message: str, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body)

    assert caught.value.message.startswith(message)
    assert caught.value.param == param


def read(body: bytes) -> Outer:
    try:
        return msgspec.json.decode(body, type=Outer)
    except wire.UNDECODABLE as error:
        raise wire.bad_request(error) from error


@pytest.mark.parametrize("name", ["search", "a-b_C9", "x" * 64])
def test_a_safe_tool_name_stays(name: str) -> None:
    assert wire.safe_tool_name(name) == name


@given(st.sets(st.text(min_size=1, max_size=100), max_size=8))
def test_unsafe_tool_names_have_a_way_back(names: set[str]) -> None:
    safe = [wire.safe_tool_name(name) for name in names]
    back = wire.original_tool_names(names)

    assert all(len(name) <= 64 and set(name) <= set(SAFE) for name in safe)
    assert {back.get(name, name) for name in safe} == names


SAFE = string.ascii_letters + string.digits + "_-"


def test_names_that_differ_only_in_what_is_replaced_stay_apart() -> None:
    assert wire.safe_tool_name("a.b") != wire.safe_tool_name("a/b")
    assert wire.safe_tool_name("x" * 65) != wire.safe_tool_name("x" * 66)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("zone", "eu, local", Narrowing(zones=("eu", "local"))),
        ("models", "small,vendor/*", Narrowing(models=("small", "vendor/*"))),
        ("max_cost", "$0.05", Narrowing(max_cost_nano_usd=50_000_000)),
        ("max_cost", "$0.000000001", Narrowing(max_cost_nano_usd=1)),
        ("max_cost", "2", Narrowing(max_cost_nano_usd=2_000_000_000)),
        ("max_cost", "$0", Narrowing(max_cost_nano_usd=0)),
        ("max_latency", "2s", Narrowing(max_latency_ms=2_000)),
        ("max_latency", "800ms", Narrowing(max_latency_ms=800)),
        ("max_latency", "1.5s", Narrowing(max_latency_ms=1_500)),
        ("deadline", "30s", Narrowing(deadline_s=30.0)),
        ("deadline", "2m", Narrowing(deadline_s=120.0)),
        ("deadline", "1h", Narrowing(deadline_s=3_600.0)),
    ],
)
def test_narrowing_in_metadata_and_in_headers(key: str, value: str, expected: Narrowing) -> None:
    header = "x-fairlead-" + key.replace("_", "-")

    assert wire.narrowing({f"fairlead.{key}": value, "mine": 1}) == (expected, {"mine": 1})
    assert wire.narrowing_from_headers({header: value, "accept": "*/*"}) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("zone", value) for value in ("", " ", "eu,", ",", "\udcff", "eu,\x00")),
        ("models", "small,\udcc3"),
        *(("max_cost", value) for value in ("", "free", "-1", "1e3", "$", "1.0000000001", "€1")),
        *(("max_cost", value) for value in ("١", "1,5", "nan", "9" * 400)),
        *(("max_latency", value) for value in ("", "2", "0s", "-1s", "infs", "1d", "0.4ms")),
        ("deadline", "soon"),
    ],
)
def test_a_bad_limit_is_refused_by_name(key: str, value: str) -> None:
    header = "x-fairlead-" + key.replace("_", "-")

    with pytest.raises(BadRequest, match=rf"fairlead\.{key}: expected .* such as") as in_metadata:
        wire.narrowing({f"fairlead.{key}": value})
    assert in_metadata.value.param == f"metadata.fairlead.{key}"
    with pytest.raises(BadRequest, match=f"{header}: expected") as in_header:
        wire.narrowing_from_headers({header: value})
    assert in_header.value.param == header


@pytest.mark.parametrize(
    "name",
    [
        *("x-fairlead-zones", "X-Fairlead-Zonne", "x-fairlead-"),
        *("fairlead-zone", "Fairlead-Zone", "x-fairlead_zone", "x-fairlead"),
    ],
)
def test_a_misspelt_header_is_not_ignored(name: str) -> None:
    with pytest.raises(BadRequest, match="is not known; known are x-fairlead-zone, ") as refused:
        wire.narrowing_from_headers({name: "local"})
    assert refused.value.param == name.lower()


def test_headers_for_the_record_ask_for_nothing() -> None:
    headers = {"x-fairlead-workflow": "w", "X-Fairlead-Step": "s", "x-fairlead-explain": "1"}

    assert wire.narrowing_from_headers({**headers, "x-other": "1"}) == Narrowing()


@pytest.mark.parametrize("value", ["", "on", "2", "maybe"])
def test_a_wish_to_be_told_is_one_or_none(value: str) -> None:
    with pytest.raises(BadRequest, match="x-fairlead-explain: expected 1 or 0"):
        wire.narrowing_from_headers({"x-fairlead-explain": value})


@pytest.mark.parametrize(
    "metadata",
    [
        {"fairlead.zones": "eu"},
        {"fairlead.zone": ["eu"]},
        {"fairlead": {"zone": "eu"}},
        {"fairlead_zone": "eu"},
        {"fairlead-zone": "eu"},
        {"Fairlead.Zone": "eu"},
    ],
    ids=str,
)
def test_a_misspelt_limit_is_not_ignored(metadata: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"fairlead\.zone"):
        wire.narrowing(metadata)


def test_a_name_that_only_begins_like_ours_is_the_callers() -> None:
    assert wire.narrowing({"fairleads": 2}) == (Narrowing(), {"fairleads": 2})


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Narrowing(), Narrowing(), Narrowing()),
        (Narrowing(zones=("eu",)), Narrowing(), Narrowing(zones=("eu",))),
        (Narrowing(), Narrowing(zones=("eu",)), Narrowing(zones=("eu",))),
        (
            Narrowing(zones=("eu", "us")),
            Narrowing(zones=("us", "local")),
            Narrowing(zones=("us",)),
        ),
        (Narrowing(zones=("eu",)), Narrowing(zones=("us",)), Narrowing(zones=("",))),
        (
            Narrowing(models=("gpt-*", "x")),
            Narrowing(models=("gpt-4o*", "gpt-3", "y")),
            Narrowing(models=("gpt-4o*", "gpt-3")),
        ),
        (
            Narrowing(max_cost_nano_usd=5, max_latency_ms=9),
            Narrowing(max_cost_nano_usd=7, deadline_s=1.0),
            Narrowing(max_cost_nano_usd=5, max_latency_ms=9, deadline_s=1.0),
        ),
    ],
)
def test_two_wishes_hold_together(a: Narrowing, b: Narrowing, expected: Narrowing) -> None:
    assert wire.narrower(a, b) == expected
    assert wire.narrower(b, a) == expected
