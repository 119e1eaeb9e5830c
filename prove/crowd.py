"""Many callers who ask in the same instant: each has sent all of its request but the last byte
before any sends that."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Told:
    status: int
    body: bytes


def wire(path: str, key: str, body: Mapping[str, Any]) -> bytes:
    """A request as it goes over the socket, which is closed after its answer."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def ask_at_once(
    port: int, requests: Sequence[bytes], told: Callable[[Told], None] = lambda _: None
) -> list[Told]:
    """What each got, in their order; ``told`` hears of each as it comes."""
    sockets = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in requests))
    for (_, writer), request in zip(sockets, requests, strict=True):
        writer.write(request[:-1])
    await asyncio.gather(*(writer.drain() for _, writer in sockets))
    for (_, writer), request in zip(sockets, requests, strict=True):
        writer.write(request[-1:])

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Told:
        async with asyncio.timeout(PATIENCE_S):
            top, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        got = Told(int(top.split(b" ", 2)[1]), body)
        told(got)
        return got

    return await asyncio.gather(*(read(*pair) for pair in sockets))
