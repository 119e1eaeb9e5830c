"""Everything that is not a model's answer: health, metrics, models, the plan of a request."""

from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from time import monotonic, time

import msgspec
from aiohttp import web

from fairlead.decide.policy import may_ask, unknown
from fairlead.dialects import DIALECTS
from fairlead.gateway import Call, Gateway
from fairlead.server.auth import credential
from fairlead.server.body import read_body
from fairlead.server.guard import check_browser
from fairlead.server.limits import Limits
from fairlead.server.models import Listed, listed, named, render_list, render_one
from fairlead.server.openapi import document
from fairlead.server.paths import METHODS, MODELS, dialect_of
from fairlead.server.respond import identity, whole
from fairlead.state import State
from fairlead.types.errors import BadRequest, MethodNotAllowed, NotFound, UnknownModel

Handler = Callable[[web.BaseRequest, str], Awaitable[web.Response]]

METRICS = "text/plain; version=0.0.4; charset=utf-8"
CHAT = "/v1/chat/completions"
FORWARDED = ("forwarded", "x-forwarded-for", "via")
"""Put there by a proxy on this machine, behind which anybody may be."""


class Admin:
    def __init__(
        self, gateway: Gateway, state: State, metrics: Callable[[], bytes], limits: Limits
    ) -> None:
        self._gateway = gateway
        self._state = state
        self._metrics = metrics
        self._limits = limits
        self.ready: Callable[[], bool] = lambda: True
        self._document = msgspec.json.encode(document())
        self._handlers: Mapping[str, Handler] = {
            "/": self._welcome,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._render_metrics,
            "/openapi.json": self._describe,
            "/v1/route": self._preview,
            MODELS: self._models,
        }

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Without keys only programs of this machine may call. Raises Forbidden."""
        if not self._state.keys.exist:
            check_browser(headers)

    async def handle(self, request: web.BaseRequest, request_id: str) -> web.Response:
        """Raises NotFound and MethodNotAllowed, with what was meant where it can be guessed."""
        path = request.rel_url.raw_path
        route = self._route(path)
        if route is None:
            raise self._not_found(path)
        method, handler = route
        if request.method != method and not (method == "GET" and request.method == "HEAD"):
            raise MethodNotAllowed(f"{path} takes {method}, not {request.method}")
        return await handler(request, request_id)

    def allowed(self, path: str) -> str:
        """The methods that an address takes, as the ``allow`` header wants them."""
        route = self._route(path)
        return "GET, HEAD" if route is not None and route[0] == "GET" else "POST"

    def _route(self, path: str) -> tuple[str, Handler] | None:
        if path.startswith(MODELS + "/"):
            return "GET", self._model
        handler = self._handlers.get(path)
        return None if handler is None else (METHODS[path], handler)

    def _not_found(self, path: str) -> NotFound:
        # A base address with or without /v1 too many is the commonest mistake.
        path = path.replace("/v1/v1/", "/v1/")
        if path.endswith("/responses"):
            return NotFound(f"the Responses dialect is not served; its neighbour is {CHAT}")
        near = [known for known in METHODS if known[:4] == "/v1/" and path.endswith(known[3:])]
        near += get_close_matches(path, list(METHODS), n=1, cutoff=0.75)
        hint = f"; did you mean {near[0]}?" if near else "; GET /openapi.json tells what there is"
        return NotFound(f"there is nothing at this address{hint}")

    async def _welcome(self, request: web.BaseRequest, request_id: str) -> web.Response:
        body = {"service": "fairlead", "openai": "/v1", "anthropic": "/", "models": MODELS}
        return whole(msgspec.json.encode(body), {})

    async def _healthz(self, request: web.BaseRequest, request_id: str) -> web.Response:
        """The process runs and its loop turns."""
        return whole(b'{"status":"ok"}', {})

    async def _readyz(self, request: web.BaseRequest, request_id: str) -> web.Response:
        """New requests are welcome: endpoints exist, and we are not shutting down."""
        endpoints = len(self._state.registry.catalog.endpoints)
        ready = bool(endpoints) and self.ready()
        body = {"status": "ready" if ready else "not ready", "endpoints": endpoints}
        response = whole(msgspec.json.encode(body), {})
        response.set_status(200 if ready else 503)
        return response

    async def _render_metrics(self, request: web.BaseRequest, request_id: str) -> web.Response:
        """Open to this machine; from elsewhere it takes a key, for it tells models and money."""
        if not _is_local(request):
            self._state.keys.identify(credential(request.headers))
        return whole(self._metrics(), {}, METRICS)

    async def _describe(self, request: web.BaseRequest, request_id: str) -> web.Response:
        return whole(self._document, {})

    async def _preview(self, request: web.BaseRequest, request_id: str) -> web.Response:
        if not request.content.is_eof():
            # No stranger takes of the memory that others need.
            self._state.keys.identify(credential(request.headers))
        body, share = await read_body(request, self._limits, self._state.body_memory)
        call = Call(
            request_id=request_id,
            dialect=self._asked_dialect(request, body),
            body=body,
            headers=request.headers,
            credential=credential(request.headers),
            at_ms=int(time() * 1000),
            arrived_s=monotonic(),
            share=share,
        )
        return whole(self._gateway.preview(call), identity(call.dialect, request_id))

    def _asked_dialect(self, request: web.BaseRequest, body: bytes) -> str:
        """The one that the query names, or else the one that the body looks like."""
        asked = request.query.get("dialect", "")
        if asked and asked not in DIALECTS:
            raise BadRequest(f"dialect: known are {', '.join(DIALECTS)}", param="dialect")
        if not asked and b'"messages"' not in body and b'"input"' in body:
            return "openai_embeddings"
        return asked or _dialect(request)

    async def _models(self, request: web.BaseRequest, request_id: str) -> web.Response:
        rows = self._visible(request)
        return whole(render_list(rows, self._is_anthropic(request)), {})

    async def _model(self, request: web.BaseRequest, request_id: str) -> web.Response:
        asked = request.path.removeprefix(MODELS + "/")
        caller = self._state.keys.identify(credential(request.headers))
        catalog = self._state.registry.catalog
        row = named(asked, catalog)
        if row is None or not may_ask(caller, asked, catalog):
            raise UnknownModel(unknown(asked, caller, catalog), param="model")
        return whole(render_one(row, self._is_anthropic(request)), {})

    def _visible(self, request: web.BaseRequest) -> list[Listed]:
        """What this key may ask for."""
        caller = self._state.keys.identify(credential(request.headers))
        catalog = self._state.registry.catalog
        return [row for row in listed(catalog) if may_ask(caller, row[0], catalog)]

    def _is_anthropic(self, request: web.BaseRequest) -> bool:
        return _dialect(request) == "anthropic_messages"


def _dialect(request: web.BaseRequest) -> str:
    return dialect_of(request.rel_url.raw_path, request.headers)


def _is_local(request: web.BaseRequest) -> bool:
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
