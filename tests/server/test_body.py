"""Bodies that are too large, too slow, cut off, compressed, or not what they should be."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.server.body import MAX_STRINGS, MAX_VALUES, count
from fairlead.server.limits import Limits
from fairlead.types.decision import Limits as KeyLimits
from fairlead.types.facts import Refused
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted

SMALL = Limits(max_body_bytes=2000, body_grace_s=0.05, linger_s=0.05)
ASK = b'{"model":"a","messages":[{"role":"user","content":"Hello."}]}'


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, at(up, "a"), limits=SMALL) as running:
        yield running


BAD: Mapping[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "not JSON": (b"{model: a}", None),
    "cut off": (ASK[:-9], None),
    "not an object": (b"[1]", None),
    "not UTF-8": (ASK.replace(b"Hello", b"\xff\xfe"), None),
    "nested too deep": (ASK[:-1] + b',"x":' + b"[" * 1500, None),
    "no model": (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
    "no messages": (b'{"model":"a"}', "messages"),
    "empty messages": (b'{"model":"a","messages":[]}', "messages"),
    "a number for a name": (ASK.replace(b'"a"', b"7"), "model"),
    "a text for a number": (ASK[:-1] + b',"temperature":"hot"}', "temperature"),
    "a negative length": (ASK[:-1] + b',"max_tokens":-1}', "max_tokens"),
    "a huge number": (ASK[:-1] + b',"max_tokens":1e400}', "max_tokens"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_body_is_refused_with_its_place(served: Served, case: str) -> None:
    body, param = BAD[case]

    got = await served.request("POST", "/v1/chat/completions", body)

    assert got.status == 400
    assert got.json["error"]["code"] == "invalid_request"
    assert got.json["error"]["param"] == param
    assert served.up.seen == []


async def test_an_error_does_not_repeat_all_of_a_long_name(up: Scripted, tmp_path: Path) -> None:
    name = b"fairlead." + b"x" * 20_000
    body = ASK[:-1] + b',"metadata":{"%b":""}}' % name

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.request("POST", "/v1/chat/completions", body)

    assert got.status == 400
    assert got.json["error"]["param"] == ("metadata." + name.decode())[:200]
    assert len(got.json["error"]["message"]) < 8_010
    [refused] = served.facts
    assert isinstance(refused, Refused)
    assert len(refused.message) < 8_010


LARGE = ASK.replace(b"Hello.", b"x" * 4000)


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    answer = await served.raw(served.head(LARGE))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 2,000 bytes" in answer


async def test_a_body_that_does_not_say_its_length_is_read_to_the_limit(served: Served) -> None:
    head = served.head(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (LARGE[:1000], LARGE[1000:])]

    answer = await served.raw(head, *chunks)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert served.up.seen == []


MANY: Mapping[str, tuple[bytes, str]] = {
    "messages": (b",".join([b'{"role":"user","content":"a"}'] * 50_001), "strings"),
    "lists": (b'{"role":"user","content":"a","x":[%b[]]}' % (b"[]," * 350_000), "values"),
    "numbers": (b'{"role":"user","content":"a","x":[%b0]}' % (b"0," * 550_000), "values"),
}


@pytest.mark.parametrize("case", MANY)
async def test_a_body_of_very_many_parts_is_not_even_parsed(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    messages, told = MANY[case]
    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.request(
            "POST", "/v1/chat/completions", b'{"model":"a","messages":[%b]}' % messages
        )

    assert (got.status, got.json["error"]["code"]) == (413, "request_too_large")
    assert told in got.json["error"]["message"]
    assert served.up.seen == []


WORDS: Mapping[str, bytes] = {
    "JSON": b'{\\"a\\": [\\"b\\", []]}, ',
    "code": b"x[i] = {j: [k, l[m]]}\\n",
    "backslashes": b"[C:\\\\x,]",
}


@pytest.mark.parametrize("words", WORDS)
async def test_a_long_text_is_no_body_of_many_parts(
    up: Scripted, tmp_path: Path, words: str
) -> None:
    """Whatever is in it: what looks like structure there is none."""
    body = ASK.replace(b"Hello.", WORDS[words] * 260_000)

    async with serving(tmp_path, up, at(up, "a", context_tokens=10_000_000)) as served:
        got = await served.request("POST", "/v1/chat/completions", body)

    assert got.status == 200


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('\\"[]{},nu'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('\\"[,'), inner),
)


def size(value: object) -> tuple[int, int]:
    """Strings, and values in lists and objects, of which an empty one is another."""
    if isinstance(value, str):
        return 1, 0
    if not isinstance(value, list | dict):
        return 0, 0
    inner = value.values() if isinstance(value, dict) else value
    sizes = [size(each) for each in inner]
    names = len(value) if isinstance(value, dict) else 0
    return names + sum(s for s, _ in sizes), max(len(value), 1) + sum(v for _, v in sizes)


@given(value=values, slice_bytes=st.integers(1, 40))
async def test_strings_and_values_are_counted_however_a_body_is_cut(
    value: object, slice_bytes: int
) -> None:
    assert await count(json.dumps(value).encode(), slice_bytes) == size(value)


async def test_others_are_served_while_a_long_body_is_counted() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    await count(b'["%b"]' % (b"x" * 9_000), slice_bytes=1_000)
    other.cancel()

    assert turns >= 9


async def test_a_strangers_body_is_not_waited_for(up: Scripted, tmp_path: Path) -> None:
    patient = Limits(linger_s=0.05)

    async with serving(tmp_path, up, at(up, "a"), limits=patient, key=KeyLimits()) as served:
        served.key = ""
        answer = await asyncio.wait_for(served.raw(served.head(LARGE)), 5.0)

    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_what_is_refused_before_it_is_read_is_on_record(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), limits=SMALL, key=KeyLimits()) as served:
        await served.raw(served.head(LARGE))
        await served.raw(served.head(ASK) + ASK[:10])
        served.key = ""
        await served.raw(served.head(ASK))
        record = await served.record()

    assert [(entry.caller_name, entry.status, entry.code) for entry in record] == [
        ("team", 413, "request_too_large"),
        ("team", 408, "request_timeout"),
        ("", 401, "invalid_api_key"),
    ]
    assert served.log.getvalue().count(b"\n") == 3


async def test_a_chunked_body_within_the_limit_is_served(served: Served) -> None:
    head = served.head(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")

    answer = await served.raw(head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(ASK), ASK))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert served.up.seen[0].headers["content-length"] == str(len(ASK))


async def test_a_body_that_does_not_come_is_not_waited_for_too_long(served: Served) -> None:
    answer = await served.raw(served.head(ASK) + ASK[:10])

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert b"x-should-retry: true" in answer


SLOW: Mapping[str, tuple[Limits, float]] = {
    "nothing more": (Limits(body_idle_s=0.05, linger_s=0.05), 9.0),
    "a byte now and then": (Limits(body_grace_s=0.1, linger_s=0.05), 0.01),
    "an extension without end": (Limits(body_grace_s=0.1, linger_s=0.05), 0.0),
}


@pytest.mark.parametrize("case", SLOW)
async def test_a_body_must_come_on(up: Scripted, tmp_path: Path, case: str) -> None:
    limits, every_s = SLOW[case]
    async with serving(tmp_path, up, at(up, "a"), limits=limits) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        answered = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        length, endless = b"content-length: 0", b"transfer-encoding: chunked"
        writer.write(served.head(b"").replace(length, endless))
        with closing(writer), suppress(ConnectionError):
            writer.write(b"1\r\n{\r\n" if every_s else b"1;")
            while not (await asyncio.wait((answered,), timeout=every_s or 0.01))[0]:
                writer.write(b"1\r\n \r\n" if every_s else b"x")
                await writer.drain()
        answer = await answered

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


async def test_a_body_that_comes_on_is_waited_for(up: Scripted, tmp_path: Path) -> None:
    """Much longer than the grace, which a body that keeps its pace does not need."""
    limits = Limits(body_grace_s=0.05, min_bytes_per_s=100)
    pieces = [ASK[:-2], *[b" " * 40] * 8, ASK[-2:]]

    async with serving(tmp_path, up, at(up, "a"), limits=limits) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        answered = asyncio.ensure_future(reader.read())
        writer.write(served.head(b"".join(pieces)))
        with closing(writer):
            for piece in pieces:
                writer.write(piece)
                await asyncio.wait((answered,), timeout=0.02)
            answer = await answered

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_ends_early_is_never_half_a_request(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(served.head(ASK) + ASK[:-10])
    writer.write_eof()

    await asyncio.wait_for(reader.read(), 5.0)
    writer.close()

    assert served.up.seen == []
    assert served.facts == []


async def test_who_leaves_in_the_middle_of_a_body_leaves_nothing_behind(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(served.head(ASK) + ASK[:-10])
    await writer.drain()
    writer.transport.abort()

    assert (await served.ask("a")).status == 200
    assert len(served.up.seen) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_a_compressed_body_is_not_unpacked(served: Served, encoding: str) -> None:
    got = await served.request("POST", "/v1/chat/completions", ASK, {"content-encoding": encoding})

    assert (got.status, got.json["error"]["param"]) == (415, "content-encoding")
    assert got.json["error"]["code"] == "unsupported_encoding"
    assert served.up.seen == []


async def test_who_waits_to_be_told_to_go_on_is_told(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(served.head(ASK, expect="100-continue"))

    told = await reader.readuntil(b"\r\n\r\n")
    writer.write(ASK)
    answer = await asyncio.wait_for(reader.read(), 5.0)
    writer.close()

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_who_waits_to_send_too_much_is_told_no_at_once(served: Served) -> None:
    answer = await served.raw(served.head(LARGE, expect="100-continue"))

    assert answer.startswith(b"HTTP/1.1 413 ")


def property_of(number: int) -> tuple[str, dict[str, object]]:
    about = {"description": "What it is, if {known}.", "enum": ["a", "b"]}
    return f"property_{number}", {"type": "string", **about}


async def test_a_million_tokens_of_conversation_are_within_the_limits() -> None:
    """About four characters a token: code in 4,000 turns, and 200 tools with large schemas."""
    code = 'def f(x):\n    return {"a": [x[i] for i in range(3)], "b": [[], {}]}\n' * 15
    schema = {"type": "object", "properties": dict(map(property_of, range(40)))}
    call = {"name": "f", "arguments": json.dumps({"path": ["a", "b"], "code": code})}
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": code}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": "1", "content": code},
            {"role": "assistant", "content": code},
        ]
        * 1_000,
        "tools": [
            {"type": "function", "function": {"name": f"f{number}", "parameters": schema}}
            for number in range(200)
        ],
    }
    written = json.dumps(body).encode()

    strings, values = await count(written)

    assert len(written) > 4_000_000
    assert strings < 0.8 * MAX_STRINGS
    assert values < 0.5 * MAX_VALUES
