"""HTTP to endpoints: one method, bytes out, bytes back. The seam that tests replace."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from fairlead.types.catalog import Timeouts


class Reply(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names."""
        ...

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrive, None at the end. Raises UpstreamError."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes. Raises UpstreamError."""
        ...


class Upstream(Protocol):
    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> AbstractAsyncContextManager[Reply]:
        """POST and wait for the response's head. Leaving the context closes the exchange: an
        unfinished answer is cancelled at the endpoint. Raises UpstreamError (CONNECT, SILENT,
        TRANSIENT)."""
        ...
