"""Requests that are not HTTP, or two kinds of it at once, as bytes: a table and what grows from it.

Each case is sent to a gateway that serves the model ``a``. Behind most of them, or inside, lies a
whole second request for the model ``smuggled``: no endpoint may ever be asked for that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CHAT = b"POST /v1/chat/completions HTTP/1.1"
HOST = b"host: 127.0.0.1"
CHUNKED = b"transfer-encoding: chunked"


@dataclass(frozen=True)
class Case:
    pieces: tuple[bytes, ...]
    """Sent one after the other, each once the one before has been taken."""
    statuses: tuple[int, ...]
    """Of all answers, in their order; after the last one the gateway closes."""


def ask(model: bytes) -> bytes:
    return b'{"model":"%b","messages":[{"role":"user","content":"Hello."}]}' % model


ASK = ask(b"a")
LENGTH = b"content-length: %d" % len(ASK)


def post(*fields: bytes, body: bytes = b"", line: bytes = CHAT, host: bytes = HOST) -> bytes:
    return b"\r\n".join((line, host, *fields)) + b"\r\n\r\n" + body


def get(target: bytes, *fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return post(*fields, line=b"GET %b %b" % (target, version))


def chunk(data: bytes, size: bytes = b"") -> bytes:
    return b"%b\r\n%b\r\n" % (size or b"%x" % len(data), data)


END = b"0\r\n\r\n"
GOOD_CHUNK = chunk(ASK)
SMUGGLED = post(b"content-length: %d" % len(ask(b"smuggled")), body=ask(b"smuggled"))
LAST = get(b"/healthz", b"connection: close")


def refused(sent: bytes, status: int = 400) -> Case:
    """Refused and closed: what follows at once is not even looked at."""
    return Case((sent + SMUGGLED,), (status,))


def served(sent: bytes, status: int = 200) -> Case:
    """Odd, but clear: an answer, and the connection goes on."""
    return Case((sent + LAST,), (status, 200))


def asking(*fields: bytes, **parts: bytes) -> bytes:
    return post(*fields, LENGTH, body=ASK, **parts)


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


def line(text: bytes) -> bytes:
    return asking(line=text)


def host(name: bytes) -> bytes:
    return asking(host=b"host: " + name)


def length(text: bytes) -> bytes:
    return post(b"content-length: " + text, body=ASK)


def coding(text: bytes) -> bytes:
    return post(b"transfer-encoding: " + text, body=GOOD_CHUNK + END)


def many(count: int) -> tuple[bytes, ...]:
    return tuple(b"x-%d: 1" % number for number in range(count))


FRAMING: Mapping[str, Case] = {
    "a length and chunks": refused(post(LENGTH, CHUNKED, body=GOOD_CHUNK + END)),
    "chunks and a length": refused(post(CHUNKED, LENGTH, body=GOOD_CHUNK + END)),
    "two lengths": refused(post(b"content-length: 4", LENGTH, body=ASK)),
    "the same length twice": refused(post(LENGTH, LENGTH, body=ASK)),
    "a list of lengths": refused(length(b"%d, %d" % (len(ASK), len(ASK)))),
    "a signed length": refused(length(b"+%d" % len(ASK))),
    "a negative length": refused(length(b"-1")),
    "a hexadecimal length": refused(length(b"0x3d")),
    "a length of two words": refused(length(b"6 1")),
    "a length with a point": refused(length(b"61.0")),
    "a length with an underscore": refused(length(b"6_1")),
    "no length": refused(length(b"")),
    "a length beyond all numbers": refused(length(b"9" * 40)),
    "chunks twice": refused(post(CHUNKED, CHUNKED, body=GOOD_CHUNK + END)),
    "chunks by another name": refused(coding(b"xchunked")),
    "chunks by half a name": refused(coding(b"chunk")),
    "chunks in quotes": refused(coding(b'"chunked"')),
    "chunks that are not last": refused(coding(b"chunked, identity")),
    "chunks of something else": Case((coding(b"gzip, chunked") + LAST,), (400,)),
    "chunks of chunks": refused(coding(b"chunked, chunked")),
    "chunks in HTTP/1.0": refused(
        post(CHUNKED, body=GOOD_CHUNK + END, line=CHAT.replace(b"1.1", b"1.0"))
    ),
    "chunks in capitals": served(coding(b"CHUNKED")),
    "a chunk of no number": refused(chunked(chunk(ASK, b"zz") + END)),
    "a chunk with a prefix": refused(chunked(chunk(ASK, b"0x3d") + END)),
    "a signed chunk": refused(chunked(chunk(ASK, b"+3d") + END)),
    "a negative chunk": refused(chunked(chunk(ASK, b"-3d") + END)),
    "a chunk and a space": refused(chunked(chunk(ASK, b"3d ") + END)),
    "a space and a chunk": refused(chunked(chunk(ASK, b" 3d") + END)),
    "a chunk of no size": refused(chunked(chunk(ASK, b";x") + END)),
    "a chunk beyond all numbers": refused(chunked(chunk(ASK, b"f" * 17) + END)),
    "a chunk that is longer": refused(chunked(GOOD_CHUNK[:-2] + b"XX\r\n" + END)),
    "a chunk that is shorter": refused(chunked(chunk(ASK, b"%x" % (len(ASK) + 2)) + END)),
    "chunks without carriage returns": refused(chunked(b"%x\n%b\n0\n\n" % (len(ASK), ASK))),
    "a line feed in a chunk's extension": refused(chunked(chunk(ASK, b"3d;x\n") + END)),
    "a carriage return in a chunk's extension": refused(chunked(chunk(ASK, b"3d;x\r\r") + END)),
    "a trailer that is no header": refused(chunked(GOOD_CHUNK + b"0\r\nx y\r\n\r\n")),
    "a length in a trailer": refused(chunked(GOOD_CHUNK + b"0\r\ncontent-length: 5\r\n\r\n")),
    "a trailer without end": refused(chunked(GOOD_CHUNK + b"0\r\n" + b"x: y\r\n" * 5000), 431),
    "a chunk that goes wrong later": Case(
        (chunked(GOOD_CHUNK[:20]), GOOD_CHUNK[20:], b"zz\r\n" + SMUGGLED), (400,)
    ),
    "a space before the colon": refused(post(LENGTH.replace(b":", b" :"), body=ASK)),
    "a tab before the colon": refused(asking(b"x-a\t: 1")),
    "a folded header": refused(asking(b"x-a: 1\r\n  2")),
    "a folded length": refused(post(b"content-length:\r\n 61", body=ASK)),
    "a first header that is folded": refused(asking(host=b" host: 127.0.0.1")),
    "a header without a colon": refused(asking(b"x-a")),
    "a header without a name": refused(asking(b": 1")),
    "a name that is no token": refused(asking(b"x(a): 1")),
    "a name in Latin-1": refused(asking(b"x-\xe9: 1")),
    "a NUL in a name": refused(asking(b"x\x00a: 1")),
    "a NUL in a header": refused(asking(b"x-a: 1\x002")),
    "a bell in a header": refused(asking(b"x-a: 1\x072")),
    "a DEL in a header": refused(asking(b"x-a: 1\x7f2")),
    "a bare carriage return": refused(asking(b"x-a: 1\r2")),
    "a bare line feed": refused(asking(b"x-a: 1\nx-b: 2")),
    "line feeds only": refused(asking().replace(b"\r\n", b"\n")),
    "no host": refused(post(LENGTH, body=ASK, host=b"x-a: 1")),
    "two hosts": refused(asking(HOST)),
    "TLS": refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 90),
    "nonsense": refused(b"hello\r\n\r\n"),
    "HTTP/2": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "another protocol": refused(b"GET / ICE/1.0\r\n\r\n"),
    "another version": refused(line(CHAT.replace(b"1.1", b"9.9"))),
    "a later version": refused(line(CHAT.replace(b"1.1", b"1.2"))),
    "a version of two digits": refused(line(CHAT.replace(b"1.1", b"1.10"))),
    "no version": refused(line(CHAT[:-9])),
    "a space after the version": refused(line(CHAT + b" ")),
    "a small method": refused(line(b"post" + CHAT[4:])),
    "a method nobody knows": refused(line(b"FETCH" + CHAT[4:])),
    "tabs for spaces": refused(line(CHAT.replace(b" ", b"\t"))),
    "a NUL in the target": refused(get(b"/heal\x00thz")),
    "a target that is not ASCII": refused(get(b"/heal\xc3\xa9thz")),
}
"""How a message is read."""

TARGETS: Mapping[str, Case] = {
    "somebody else's address": refused(line(b"POST http://example.com" + CHAT[5:])),
    "our own address": refused(line(b"POST http://127.0.0.1" + CHAT[5:])),
    "another scheme": refused(get(b"ftp://127.0.0.1/healthz")),
    "a tunnel": Case((post(line=b"CONNECT example.com:443 HTTP/1.1") + SMUGGLED,), (400,)),
    "no path": Case((post(line=b"OPTIONS * HTTP/1.1") + SMUGGLED,), (400,)),
    "a fragment": refused(get(b"/healthz#x")),
    "a fragment with another user": refused(get(b"/#@127.0.0.1/healthz")),
    "two slashes": served(get(b"//healthz"), 404),
    "two slashes and a name": served(get(b"//127.0.0.1/healthz"), 404),
    "dots": served(get(b"/v1/../healthz"), 404),
    "dots in disguise": served(get(b"/v1/%2e%2e/healthz"), 404),
    "a letter in disguise": served(get(b"/healt%68z"), 404),
    "a slash in disguise": served(get(b"/v1%2fmodels"), 404),
    "a NUL in disguise": served(get(b"/healthz%00"), 404),
    "a parameter": served(get(b"/healthz;x"), 404),
    "a backslash": served(get(b"/\\healthz"), 404),
    "a query": served(get(b"/healthz?x=1")),
    "a host with a fragment": refused(host(b"localhost:4000/#@x")),
    "a host with a path": refused(host(b"127.0.0.1/healthz")),
    "a host with a user": refused(host(b"x@127.0.0.1")),
    "a host with a query": refused(host(b"127.0.0.1?x")),
    "a host with a scheme": refused(host(b"http://127.0.0.1")),
    "a host with a space": refused(host(b"127.0.0.1 x")),
    "a host with a backslash": refused(host(b"127.0.0.1\\x")),
    "a host in disguise": refused(host(b"127.0.0%2e1")),
    "two hosts in one": refused(host(b"127.0.0.1, x")),
    "an empty host": refused(host(b"")),
    "a host without letters": refused(host(b":4600")),
    "a port beyond all ports": refused(host(b"127.0.0.1:65536")),
    "a port that is no number": refused(host(b"127.0.0.1:x")),
    "a host with a bracket": refused(host(b"[::1")),
    "an address of version 6": served(host(b"[::1]:4600")),
    "a host in capitals": served(host(b"LOCALHOST")),
}
"""Whom it is for."""

SIZES: Mapping[str, Case] = {
    "a long address": refused(get(b"/" + b"a" * 9000), 431),
    "a long method": refused(b"A" * 9000 + b" / HTTP/1.1\r\n\r\n"),
    "a long header": refused(asking(b"x-a: " + b"a" * 9000), 431),
    "a long name": refused(asking(b"a" * 9000 + b": 1"), 431),
    "a long header in pieces": Case(
        (post(b"x-a: " + b"a" * 5000)[:-4], b"a" * 5000 + b"\r\n\r\n" + SMUGGLED), (431,)
    ),
    "too many headers": refused(asking(*many(99)), 431),
    "as many headers as may be": served(asking(*many(98))),
    "many long headers": refused(asking(*[b"x-a: " + b"a" * 7000] * 5), 431),
    "many long headers in pieces": Case(
        (post(LENGTH)[:-2], *[b"x-a: " + b"a" * 7000 + b"\r\n"] * 5), (431,)
    ),
    "many long headers behind another request": Case(
        (asking() + asking(*[b"x-a: " + b"a" * 7000] * 5) + SMUGGLED,), (200, 431)
    ),
    "a head without end": Case((CHAT + b"\r\n", *[b"x-a: " + b"a" * 4000 + b"\r\n"] * 20), (431,)),
    "empty lines without end": Case((b"\r\n" * 20_000,), (431,)),
}
"""How much of it there is."""

CASES: Mapping[str, Case] = {**FRAMING, **TARGETS, **SIZES}

ODD = (*range(1, 9), *range(11, 13), *range(14, 32), 0x7F, 0x80, 0xA0, 0xFF)
"""Bytes that one server strips and another one keeps."""


def disguises() -> Iterator[bytes]:
    """``transfer-encoding: chunked`` as only some servers would read it."""
    name, value = b"transfer-encoding", b"chunked"
    for byte in ODD:
        odd = bytes((byte,))
        yield b"%b%b: %b" % (name, odd, value)
        yield b"%b%b: %b" % (odd, name, value)
        yield b"%b:%b%b" % (name, odd, value)
        yield b"%b: %b%b" % (name, value, odd)
        yield b"x: x\r%b%b: %b" % (odd, name, value)
        yield b"%b: x\r\n%b%b" % (name, odd, value)
    for before in (b" ", b"\t", b"x: x\n", b"x: x\r", b"\x00"):
        yield b"%b%b: %b" % (before, name, value)
    for after in (b" ", b"\t", b" \t", b"\r", b"\r\n", b"\r\n "):
        yield b"%b%b: %b" % (name, after, value)
    for text in (b"%b,", b",%b", b"x, %b", b"identity, %b", b"%b, identity", b"%b;x", b"%b x"):
        yield b"%b: %b" % (name, text % value)
    for text in (b"'%b'", b'"%b"', b"x%b", b"%bx", b"(%b)", b"%b\x00", b"\x0b%b\x0b", b"%b\r\n x"):
        yield b"%b: %b" % (name, text % value)
    for other in (b"identity", b"x", b"", b"CHUNKED", b"chunked"):
        yield b"%b: %b\r\n%b: %b" % (name, value, name, other)
        yield b"%b: %b\r\n%b: %b" % (name, other, name, value)


def smuggling() -> Iterator[Case]:
    """Each disguise with a length, so that the second request begins where the one reading ends
    and the other one does not."""
    for disguise in disguises():
        for fields in ((b"%b",), (b"x-a: 1", b"%b", b"x-b: 2")):
            heads = tuple(field.replace(b"%b", disguise) for field in fields)
            behind_chunks = END + SMUGGLED
            whole = b"content-length: %d" % len(behind_chunks)
            yield Case((post(whole, *heads, body=behind_chunks),), (400,))
            yield Case((post(*heads, whole, body=behind_chunks),), (400,))
            inside = b"1\r\nX\r\n" + chunk(SMUGGLED) + END
            yield Case((post(b"content-length: 6", *heads, body=inside),), (400,))
