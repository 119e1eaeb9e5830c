"""Requests that are HTTP, and hostile in what they say: in bodies, credentials, headers and names.

Every place in known requests of every dialect gets every value of a table in turn, so that no field
goes without its wrong types; then come documents that are no JSON, or two kinds of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from urllib.parse import quote_from_bytes

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
COUNT, EMBEDDINGS, PLAN = "/v1/messages/count_tokens", "/v1/embeddings", "/v1/route"
MODELS = (b"o", b"a", b"both")
JSON = b"content-type: application/json"
HERE = '"@here@"'
BRACKETS = ((b"[", b"]", b""), (b'{"a":', b"}", b"1"), (b'{"items":', b"}", b"{}"))


@dataclass(frozen=True)
class Asked:
    kind: str
    path: bytes
    body: bytes = b""
    fields: tuple[bytes, ...] = ()
    method: bytes = b"POST"
    allowed: bool = True
    """Whether its credential opens anything."""

    @property
    def in_anthropic(self) -> bool:
        path = self.path.partition(b"?")[0].decode()
        if path in (CHAT, EMBEDDINGS):
            return False
        return path in (MESSAGES, COUNT) or self.has(b"anthropic-version")

    def has(self, name: bytes) -> bool:
        return any(field.startswith(name + b":") for field in self.fields)

    def sent(self, key: str) -> bytes:
        fields = list(self.fields)
        if self.allowed:
            fields.append(b"authorization: Bearer " + key.encode())
        if not self.has(b"content-type"):
            fields.append(JSON)
        if self.body or self.method in (b"POST", b"PUT", b"PATCH"):
            fields.append(b"content-length: %d" % len(self.body))
        line = b"%b %b HTTP/1.1\r\nhost: 127.0.0.1\r\n" % (self.method, self.path)
        return line + b"\r\n".join(fields) + b"\r\n\r\n" + self.body


def nested(depth: int, opening: bytes, closing: bytes, inside: bytes = b"") -> bytes:
    return opening * depth + inside + closing * depth


VALUES: Sequence[bytes] = (
    *b'null true false [] {} "" [[]] [null] [{}] [""] {"":""} [[[1]]] {"type":null}'.split(),
    *b'{"type":"text"} {"type":"text","text":1} [{"type":[]}] [{"role":"user"}]'.split(),
    *b"0 -0 -1 1 1.5 1.0 1e2 2e9 0.1e1 1e400 -1e400 1e-400 1E+99 1e99999999999".split(),
    *b"4294967296 9223372036854775808 -9223372036854775809 18446744073709551616".split(),
    *(b"9" * 400, b"1" * 5000, b"0." + b"1" * 3000),
    *b"NaN Infinity -Infinity 01 +1 .5 1. 0x10 1_000 --1 nul True 'a' a [1,] [ { } // \"".split(),
    *(b"", b'{"a":1,}', b"[1 2]", b'{"a" 1}', b"\xff", b"\x00"),
    *rb'"\ud800" "\udc00\ud800" "\u0000" "\uFFFF" "\x41" "\u12" "\" "\r\nx-injected: 1"'.split(),
    *(b'"\x00"', b'"\x1f"', b'"\n"', b'"\r\nx-injected: 1"', b'" "'),
    *(b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"'),
    *(b'"\xef\xbb\xbf"', '"\u202e\u2066"'.encode(), '"\U0001f469\u200d"'.encode()),
    *b'"1" "true" "null" "NaN" "-1" "__proto__" "../../etc/passwd" "$(id)" "text"'.split(),
    *b'"user" "tool" "function" "image_url" "data:," "http://127.0.0.1:1/"'.split(),
    *(b'"' + b"a" * 20_000 + b'"', b'"' + rb"\u0061" * 3000 + b'"'),
    *(b"[" + b"0," * 3000 + b"0]", b"[" + b"{}," * 500 + b"{}]"),
    *(nested(15, b"[", b"]"), nested(60, b'{"a":', b"}", b"1")),
    *(nested(500, b"[", b"]"), nested(3000, b'{"a":', b"}", b"1")),
)
DEPTHS = (300, 400, 450, 480, 500, 900, 930, 950, 960, 970, 980, 990)
"""Around what a stack of a thousand calls can hold, and half of it."""

AROUND: Sequence[tuple[bytes, bytes]] = (
    *((b"\xef\xbb\xbf", b""), (b"\xfe\xff", b""), (b"\xff\xfe", b""), (b"\x00", b"")),
    *((b"", b"\x00"), (b" \t\r\n", b"\n"), (b"", b"x"), (b"", b"}"), (b"", b"{}")),
    *((b"", b"\xef\xbb\xbf"), (b"", b"//"), (b"/**/", b""), (b"[", b"]"), (b'"', b'"')),
    *((b")]}'\n", b""), (b"\x1f\x8b\x08", b""), (b"\x1b[31m", b""), (b"data: ", b"\n\n")),
    *((b"<!--", b"-->"), (b"", b"," * 99)),
)
"""What is put around a document."""
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037")

NAMES: Sequence[bytes] = (
    *b"O * o* ? . .. ../o o/.. / // o/ \\ %6f %00 %2e%2e % o?x=1 o# o;x o:free at-o/o".split(),
    *b"at-o/ /o nobody/o __proto__ constructor ${jndi:ldap://127.0.0.1/x} {{7*7}}".split(),
    *b"<script> $(id) null 0 -1 true [] {} None auto default fairlead fairlead/o".split(),
    *(b"", b" ", b"o ", b" o", b"o\x00", b"o\xff", b"o\r\nx-injected: 1", b"' OR 1=1 --"),
    *(b"a" * 300, b"a" * 6000, b"/" * 3000, b"." * 3000, "\u202eo".encode()),
    *("\u043e".encode(), "\U0001f600".encode(), b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"),
)

_BEARERS: Sequence[bytes] = (
    *b"x null undefined * %00 ../../x sk-canary-o x,y =?utf-8?q?x?=".split(),
    *(b"", b" ", b"Bearer x", b"\xff\xfe", b"\xc3\xa9", b"' OR 1=1 --", b"\tx", b"x, Bearer y"),
    *(b"a" * 7000, b"fl-" + b"0" * 40, b"fl-" + b"-" * 40),
)
CREDENTIALS: Sequence[bytes] = (
    *(b"authorization: Bearer " + token for token in _BEARERS),
    *(b"authorization:" + rest for rest in (b"", b" Bearer", b" bearer x", b" Basic bzpv")),
    *(b"authorization:" + rest for rest in (b"\tx", b" Digest a=b", b" =?utf-8?q?x?=")),
    *(b"x-api-key: " + key for key in (b"", b"x", b"k" * 7000, b"\xf0\x9f\x98\x80")),
    *(b"x-goog-api-key: x", b"cookie: key=x", b"proxy-authorization: Bearer x", b"api-key: x"),
)

LIMITS = (
    *b"zone models max-cost max-latency deadline explain workflow step".split(),
    *b"nothing zone- Zone request-id".split(),
    b"",
)
AMOUNTS: Sequence[bytes] = (
    *b"0 -0 -1 1 $ $-1 $0 $1e9 $1e999 $NaN $inf $0.0000000000000001 nan inf 1,5 $1_0".split(),
    *b"0x10 1;2 1s 1ms -1s 1e9h 1d 0s 0ms 1.5.5s s 99999999999999d NaNs infs 1s,2s".split(),
    *b'* ** , ,,, o,,a o*, *o [ ( (a+)+$ %2a \\ "o" ../o null {} true o;a CLOUD'.split(),
    *(b"", b" ", b"$ 1", b"1 s", b"1s 2s", b"eu\tlocal", b"cloud,cloud", b"everywhere", b"'"),
    *(b"\xb9\xb2\xb3", b"$\xd9\xa3", b"\xb2s", b"\xff", b"\x80\x81", b"eu,\xff"),
    *(b"$" + b"9" * 300, b"$0." + b"9" * 3000, b"9" * 400 + b"s", b"*" * 6000),
    *(b"local" * 900, b"o," * 2500),
)

_JUNK: Sequence[bytes] = (b"", b" ", b"\xff", b"\xc3\xa9", b"a\tb", b"," * 3000, b"a" * 5000)
FIELDS: Mapping[bytes, Sequence[bytes]] = {
    b"content-type": (
        *b"text/plain text/xml multipart/form-data */* application/json;;".split(),
        *b"application/x-www-form-urlencoded application/json;charset=utf-16".split(),
    ),
    b"content-encoding": (*b"gzip br deflate zstd identity x".split(), b"gzip, gzip"),
    b"accept": (*b"text/html image/png;q=9 text/event-stream */*;q=0".split(),),
    b"accept-encoding": (*b"gzip br;q=nan *;q=0".split(),),
    b"anthropic-version": (b"1999-01-01", b"2023-06-01, 2023-06-01", b"latest", b"2026-13-99"),
    b"anthropic-beta": (b",", b"a," * 2000, b"x y", b"code-execution-2025-05-22"),
    b"idempotency-key": (b"a" * 255, b"a" * 256, b"a, b", b"'", b"..", b"%00"),
    b"traceparent": (b"00", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"ff-x-y-z"),
    b"origin": (
        *b"null http://evil.example http://[ file:// http://127.0.0.1.evil.example".split(),
    ),
    b"connection": (b"upgrade", b"content-length", b"authorization", b"close, keep-alive"),
    b"upgrade": (b"websocket", b"h2c"),
    b"expect": (b"x", b"200-ok"),
    b"te": (b"trailers, x",),
    b"keep-alive": (b"timeout=-1",),
    b"trailer": (b"content-length",),
    b"range": (b"bytes=0-0,-1",),
    b"cookie": (b"a=b;" * 1500,),
    b"forwarded": (b'for="["',),
    b"x-forwarded-host": (b"evil.example",),
    b"x-http-method-override": (b"DELETE",),
    b"x-original-url": (b"/metrics",),
    b"x-request-id": (b"' OR 1=1 --",),
    b"x-should-retry": (b"true",),
    b"x-stainless-timeout": (b"-1", b"NaN"),
    b"user-agent": (),
    b"max-forwards": (b"-1",),
    b"date": (b"x",),
}
"""What each is said beside ``_JUNK``."""
HEADERS = tuple(
    b"%b: %b" % (name, value) for name, values in FIELDS.items() for value in (*values, *_JUNK)
)

METHODS = b"GET POST PUT PATCH DELETE OPTIONS".split()
PATHS = (
    *b"/v1/models /v1/models/o /healthz /readyz /metrics /openapi.json / /v1 /v1/".split(),
    *b"/v1/completions /v1/responses /v1/chat /v1/chat/completions/ /v1/files".split(),
    *b"/v1/chat/completions/x /V1/chat/completions /v2/messages /admin /.env".split(),
    *b"/.git/config /v1/models/ /v1/models// /v1/models/o/ /v1beta/models /?%ff".split(),
    *b"/v1/messages?beta=true /v1/chat/completions?key=x /v1/route?dialect=x".split(),
    *b"/v1/route?dialect= /v1/route?dialect=openai_chat&dialect=x".split(),
    *(path.encode() for path in (CHAT, MESSAGES, COUNT, EMBEDDINGS, PLAN)),
)


def known() -> dict[str, list[bytes]]:
    """Sound requests, which all the others are made from."""
    prompt = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 9}
    agent = "anthropic_messages/request_agent"
    return {
        CHAT: [_golden(f"openai_chat/request_{name}") for name in ("text", "settings", "agent")],
        MESSAGES: [_golden(f"anthropic_messages/request_{name}") for name in ("text", "settings")]
        + [_golden(agent)],
        COUNT: [_golden(agent)],
        EMBEDDINGS: [
            _whole({"input": ["a", "b"], "dimensions": 9, "encoding_format": "float"}, "e")
        ],
        PLAN: [_whole(prompt, "both")],
    }


def _golden(name: str) -> bytes:
    body = json.loads((GOLDEN / name / "wire.json").read_text())
    if "metadata" in body:
        limits = {"fairlead.zone": "cloud", "fairlead.max_cost": "$9", "fairlead.models": "*"}
        body["metadata"] = {"user_id": "u-1", **limits}
    return _whole(body, "both")


def _whole(body: dict[str, object], model: str) -> bytes:
    return json.dumps({**body, "model": model}).encode()


def sound() -> Iterator[Asked]:
    for path, bodies in known().items():
        for body in bodies:
            yield Asked("sound", path.encode(), body)


def wrong_values(dice: Random, share: float) -> Iterator[Asked]:
    """Each place of each known request, with each value in turn; or a share of all that."""
    models = cycle(MODELS)
    for path, bodies in known().items():
        for body in bodies:
            whole = json.loads(body)
            for place in list(_places(whole)):
                deep = (nested(depth, *dice.choice(BRACKETS)) for depth in DEPTHS)
                for value in (*VALUES, *deep):
                    if dice.random() >= share:
                        continue
                    if path != EMBEDDINGS and place[:1] != ("model",):
                        whole["model"] = next(models).decode()
                    told = _with(whole, place, value)
                    yield Asked("a wrong value", path.encode(), told)


def _places(value: object, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield (*before, key)
        yield from _places(inner, (*before, key))


def _with(whole: object, place: Sequence[str | int], value: bytes) -> bytes:
    """The document as text, one value replaced by bytes of any kind."""
    changed = json.loads(json.dumps(whole))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = HERE.strip('"')
    before, _, after = json.dumps(changed).partition(HERE)
    return before.encode() + value + after.encode()


def others() -> Iterator[Asked]:
    """All that is no wrong value in a field."""
    for path, bodies in known().items():
        where = path.encode()
        for body in bodies:
            yield from _documents(where, body)
            for limit in LIMITS:
                for amount in AMOUNTS:
                    yield Asked("a limit", where, body, (b"x-fairlead-%b: %b" % (limit, amount),))
            for header in HEADERS:
                yield Asked("a header", where, body, (header,))
        zones = (b"x-fairlead-zone: eu", b"x-fairlead-zone: cloud")
        yield Asked("two limits", where, bodies[0], zones)
        yield Asked("no credential", where, bodies[0], allowed=False)
        for credential in CREDENTIALS:
            yield Asked("a credential", where, bodies[0], (credential,), allowed=False)
            twice = (credential, credential)
            yield Asked("two credentials", where, bodies[0], twice, allowed=False)
    yield from _addresses()


def _documents(where: bytes, body: bytes) -> Iterator[Asked]:
    whole = json.loads(body)
    for before, after in AROUND:
        yield Asked("a wrong document", where, before + body + after)
    for encoding in ENCODINGS:
        yield Asked("another encoding", where, body.decode().encode(encoding))
    for value in VALUES:
        yield Asked("no object", where, value)
        yield Asked("a key twice", where, b'{"messages":%b,' % value + body[1:])
        yield Asked("a key twice", where, body[:-1] + b',"model":%b}' % value)
        yield Asked("an odd key", where, b"{%b:1," % value + body[1:])
    for name in NAMES:
        for model in (json.dumps(name.decode("latin-1")).encode(), b'"%b"' % name):
            yield Asked("a model's name", where, _with(whole, ("model",), model))


def _addresses() -> Iterator[Asked]:
    for method in METHODS:
        for path in PATHS:
            yield Asked("an address", path, method=method)
            yield Asked("an address", path, b"{}", (b"anthropic-version: x",), method)
    for name in NAMES:
        where = b"/v1/models/" + quote_from_bytes(name).encode()
        for fields in ((), (b"anthropic-version: 2023-06-01",)):
            yield Asked("a model's name", where, b"", fields, b"GET")


def damage(dice: Random) -> Iterator[Asked]:
    """Without end: known requests that are cut, doubled and shuffled at random places."""
    every = [(path, body) for path, bodies in known().items() for body in bodies]
    while True:
        path, body = dice.choice(every)
        for _ in range(dice.randint(1, 4)):
            at, to = sorted(dice.choices(range(len(body) + 1), k=2))
            to = min(to, at + dice.choice((0, 1, 5, 40)))
            put = dice.choice((b"", body[at:to] * 2, dice.choice(VALUES), dice.randbytes(2)))
            body = body[:at] + put + body[to:]
        yield Asked("damage", path.encode(), body[: 1 << 20])
