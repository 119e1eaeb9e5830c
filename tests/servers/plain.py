"""A plain client on the standard library: what any program sends, and what it gets back."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CHAT = "/v1/chat/completions"
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What the model said, in OpenAI's dialect."""
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def request_id(self) -> str:
        return self.headers["x-fairlead-request-id"]


def request(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Got:
    with _sent(method, url, body, headers or {}) as response:
        return Got(response.status, _fields(response), response.read())


def ask(
    address: str,
    model: str,
    text: str = "Hello.",
    key: str = "",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Got:
    """A chat request."""
    return request("POST", address + CHAT, _body(model, text, fields), _head(key, headers))


@contextmanager
def streaming(
    address: str, model: str, key: str = "", **fields: Any
) -> Iterator[http.client.HTTPResponse]:
    """A chat request whose answer is read by whoever asks, piece by piece."""
    body = _body(model, "Hello.", {"stream": True, **fields})
    with _sent("POST", address + CHAT, body, _head(key, None)) as response:
        yield response


@contextmanager
def _sent(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)
    with closing(connection):
        connection.request(method, parts.path, body, dict(headers))
        with connection.getresponse() as response:
            yield response


def _body(model: str, text: str, fields: Mapping[str, Any]) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "messages": messages, **fields}).encode()


def _head(key: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    credential = {"authorization": f"Bearer {key}"} if key else {}
    return {"content-type": "application/json", **credential, **(headers or {})}


def _fields(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
