"""One simulated provider's HTTP server on loopback: paths, faults, refusals, its own log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from fairlead.decide.classify import classify
from fairlead.dialects import DIALECTS
from fairlead.outside.simulated import bodies
from fairlead.outside.simulated.answers import CHARS_PER_TOKEN
from fairlead.outside.simulated.faults import WIRE_ERRORS, Fault, Faults
from fairlead.outside.simulated.log import Arrival, ServedLog
from fairlead.outside.simulated.profiles import Profile, SimulatedProvider
from fairlead.outside.simulated.speaking import JSON, Asked, answer, hang_up
from fairlead.types.errors import CallerError

MAX_BODY_BYTES = 32 << 20

DIALECT_OF_PATH: Mapping[str, str] = {
    "/v1/chat/completions": "openai_chat",
    "/v1/embeddings": "openai_embeddings",
    "/v1/messages": "anthropic_messages",
    "/v1/messages/count_tokens": "anthropic_count_tokens",
}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """Answered with a vendor's error: a key of WIRE_ERRORS, and what its message names."""

    def __init__(self, name: str, retry_after_s: int | None = None, **values: object) -> None:
        super().__init__(name)
        self.error = WIRE_ERRORS[name]
        self.message = self.error.message.format(**values)
        self.retry_after_s = retry_after_s


class ProviderServer:
    """``profiles``: the models it serves, by name. ``time_scale``: 1 is real, 0 is instant."""

    def __init__(
        self,
        provider: SimulatedProvider,
        profiles: Mapping[str, Profile],
        log: ServedLog,
        time_scale: float,
    ) -> None:
        self.faults = Faults()
        self._provider = provider
        self._profiles = profiles
        self._log = log
        self._time_scale = time_scale
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("GET", "/v1/models"): self._models,
            ("POST", "/simulate"): self._simulate,
            **{("POST", path): self._ask for path in DIALECT_OF_PATH},
        }
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None),
            shutdown_timeout=0.05,
        )

    async def start(self) -> str:
        """Listen on a free port of loopback. Returns the base address for the gateway."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            handler = self._handlers.get((http.method, http.path))
            if handler is None:
                raise Refusal("no_such_path", path=http.path)
            return await handler(http)
        except Refusal as refusal:
            return _refused(http, refusal)

    async def _models(self, http: web.BaseRequest) -> web.StreamResponse:
        models = [
            profile.model
            for name, profile in self._profiles.items()
            if not self.faults.retired(name)
        ]
        return web.Response(body=bodies.model_list(models, _is_anthropic(http)), headers=JSON)

    async def _simulate(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            order = msgspec.json.decode(await _read(http), type=bodies.Order)
        except msgspec.DecodeError as error:
            raise Refusal("bad_request", detail=error) from error
        if order.model not in ("*", *self._profiles):
            there = ", ".join(self._profiles)
            raise Refusal("bad_request", detail=f"{order.model} is not here, but {there}")
        if order.fault is None:
            self.faults.clear(order.model)
        else:
            fault = Fault(order.fault, order.times, order.factor, order.retry_after_s)
            self.faults.set(order.model, fault)
        return web.Response(body=msgspec.json.encode(order), headers=JSON)

    async def _ask(self, http: web.BaseRequest) -> web.StreamResponse:
        """A model is asked; what arrived is written down before anything is answered."""
        body = await _read(http)
        model = bodies.named_model(body)
        fault = self.faults.strike(model)
        kind = fault.kind if fault is not None else ""
        arrival = Arrival(path=http.path, body=body, model=model, fault=kind)
        if kind in ("down", "silent"):
            self._tell(arrival, 0)
            return await _unanswered(http, kind)
        try:
            asked = self._accepted(http, arrival, fault)
        except Refusal as refusal:
            self._tell(arrival, refusal.error.status_for(_is_anthropic(http)))
            raise
        self._tell(arrival, 200)
        return await answer(http, asked)

    def _tell(self, arrival: Arrival, status: int) -> None:
        self._log.add(self._provider.name, self._provider.zone, arrival, status)

    def _accepted(self, http: web.BaseRequest, arrival: Arrival, fault: Fault | None) -> Asked:
        """Whatever a vendor would refuse is refused here, before the answer begins."""
        model = arrival.model
        if fault is not None and fault.kind in WIRE_ERRORS:
            gate_s = fault.retry_after_s if fault.kind == "rate_limited" else None
            raise Refusal(fault.kind, gate_s, model=model)
        profile = self._profiles.get(model)
        if profile is None:
            raise Refusal("unknown_model", model=model)
        headers = {name.lower(): value for name, value in http.headers.items()}
        try:
            request = DIALECTS[DIALECT_OF_PATH[http.path]].parse_request(arrival.body, headers)
        except CallerError as error:
            raise Refusal("bad_request", detail=error.message) from error
        if (request.operation == "embed") != ("embed" in profile.model.can):
            raise Refusal("bad_request", detail=f"{model} cannot do this: {request.operation}")
        task = classify(request, CHARS_PER_TOKEN)
        limit = profile.model.context_tokens or task.input_tokens
        if request.operation != "count" and task.input_tokens > limit:
            raise Refusal("context", tokens=task.input_tokens, limit=limit)
        slow = fault is not None and fault.kind == "slow"
        scale = self._time_scale * (fault.factor if fault is not None and slow else 1.0)
        return Asked(request, task, profile, fault.kind if fault else None, scale)


async def _unanswered(http: web.BaseRequest, kind: str) -> web.StreamResponse:
    if kind == "silent":
        # Ends when the caller gives up or the server stops.
        await asyncio.Event().wait()
    return hang_up(http)


def _is_anthropic(http: web.BaseRequest) -> bool:
    return http.path.startswith("/v1/messages") or "anthropic-version" in http.headers


def _refused(http: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
    headers = dict(JSON)
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(refusal.retry_after_s)
    anthropic = _is_anthropic(http)
    body = bodies.error_body(refusal.error, refusal.message, anthropic)
    return web.Response(status=refusal.error.status_for(anthropic), body=body, headers=headers)


async def _read(http: web.BaseRequest) -> bytes:
    """The whole body. Raises Refusal when it is too large."""
    if (http.content_length or 0) > MAX_BODY_BYTES:
        raise Refusal("too_large")
    data = bytearray()
    async for piece in http.content.iter_any():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise Refusal("too_large")
    return bytes(data)
