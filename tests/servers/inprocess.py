"""The whole path of a request in the test's own loop: every part is real, only no process is made.

Store, keys, state, upstream, dispatch, gateway, sinks and listener, before scripted upstreams.
However a test ends, every attempt must have been settled exactly once: ``serving`` checks it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from time import monotonic, time
from typing import Any

import aiohttp

from decide.pool import model as made_model
from fairlead.decide.routes import default_routes
from fairlead.dispatch import Dispatch
from fairlead.gateway import Gateway
from fairlead.outside.journal import Entry, Journal
from fairlead.outside.log import Log
from fairlead.outside.metrics import Metrics
from fairlead.outside.signers import Signers
from fairlead.outside.store import Store
from fairlead.outside.upstream import HttpUpstream
from fairlead.server.admin import Admin
from fairlead.server.http import Listener
from fairlead.server.limits import Limits
from fairlead.server.replays import Replays
from fairlead.state import State
from fairlead.state.keys import Keys, create, list_keys
from fairlead.types.catalog import Catalog, Endpoint, Price, Rates, Route, Rule, Secret, Timeouts
from fairlead.types.decision import Limits as KeyLimits
from fairlead.types.facts import Exchanged, Fact
from servers.scripted import Scripted

PEPPER = b"p" * 32
RATES = Rates(input=1_000_000, output=5_000_000, cached_read=100_000)
QUICK = Timeouts(connect_s=0.2, first_token_s=0.15, stall_s=0.1)
PATIENT = Limits(max_wait_s=20.0)
"""How long a busy machine lets the loop wait is no reason to turn anybody away."""
LIST = "list"
"""The route that asks every endpoint in the order in which the test names them."""


@dataclass(frozen=True)
class Got:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    whole: bool = True
    """False: the connection broke off before the end."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of each event of a stream; ``[DONE]`` as it is."""
        datas = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [data if data == "[DONE]" else json.loads(data) for data in datas]

    @property
    def text(self) -> str:
        """What the model said, in OpenAI's dialect, whole or streamed."""
        if self.headers["content-type"] == "application/json":
            return str(self.json["choices"][0]["message"]["content"])
        chunks = [event for event in self.events if event != "[DONE]" and event.get("choices")]
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-fairlead-attempts", "0"))


def statuses(answers: bytes) -> list[int]:
    """Of what came back on one connection."""
    return [int(part[2:5]) for part in answers.split(b"HTTP/1.")[1:]]


@dataclass
class Served:
    up: Scripted
    state: State
    store: Store
    journal: Journal
    metrics: Metrics
    dispatch: Dispatch
    gateway: Gateway
    listener: Listener
    log: BytesIO
    client: aiohttp.ClientSession
    port: int = 0
    facts: list[Fact] = field(default_factory=list)
    key: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Got:
        """``body``: bytes as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sending = None if data is None else BytesIO(data)
        sent = {"content-type": "application/json", **self.credential(), **(headers or {})}
        async with self.client.request(
            method, self.address + path, data=sending, headers=sent
        ) as response:
            pieces, whole = [], True
            try:
                async for piece in response.content.iter_any():
                    pieces.append(piece)
            except aiohttp.ClientPayloadError:
                whole = False
            fields = {name.lower(): value for name, value in response.headers.items()}
            return Got(response.status, fields, b"".join(pieces), whole)

    async def ask(
        self,
        model: str = LIST,
        text: str = "Hello.",
        *,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Got:
        """A chat request in OpenAI's dialect."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return await self.request("POST", "/v1/chat/completions", body, headers)

    def credential(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    async def raw(self, *sent: bytes) -> bytes:
        """Bytes to the socket, and all that comes back until the gateway closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with closing(writer):
            for data in sent:
                writer.write(data)
                with suppress(ConnectionError):
                    await writer.drain()
            return await asyncio.wait_for(reader.read(), 5.0)

    def head(self, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> bytes:
        """A request's head for ``raw``; the connection is to be closed after it."""
        fields = {
            "host": f"127.0.0.1:{self.port}",
            "content-length": str(len(body)),
            "connection": "close",
            **self.credential(),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def buffered(self) -> int:
        """Bytes that the gateway holds for its clients, beyond what the kernel took."""
        transports = [one.transport for one in self.listener._server.connections]
        return sum(one.get_write_buffer_size() for one in transports if one is not None)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.store.read(sql)]

    def exchanged(self) -> list[Exchanged]:
        return [fact for fact in self.facts if isinstance(fact, Exchanged)]

    async def record(self) -> list[Entry]:
        """The journal, oldest first, once all is on disk."""
        await self.store.flush()
        return self.journal.recent(1000)[::-1]

    async def settled(self) -> None:
        """Every attempt was held once, settled once and told once."""
        await self.store.flush()
        held = self.rows("SELECT attempt_id FROM intent ORDER BY 1")
        settled = self.rows("SELECT attempt_id FROM settle ORDER BY 1")
        told = sorted((one.id,) for fact in self.exchanged() for one in fact.attempts)
        assert held == settled == told
        assert (self.state.ledger.open_holds, self.state.ledger.repeated_settles) == (0, 0)
        spent = self.rows(
            "SELECT key_id, sum(nano) FROM spend WHERE \"window\" LIKE 'day:%' GROUP BY 1"
        )
        charged = self.rows("SELECT key_id, coalesce(sum(nano), 0) FROM settle GROUP BY 1")
        assert sorted(spent) == sorted(charged)


def at(up: Scripted, name: str, dialect: str = "openai_chat", **facts: Any) -> Endpoint:
    """Endpoint ``at-NAME/NAME`` for the scripts of model NAME. ``secrets`` are ids; facts that are
    not an endpoint's are its model's."""
    ids: Sequence[str] = facts.pop("secrets", (f"KEY_{name.upper()}",))
    own = {key: facts.pop(key) for key in tuple(facts) if key in Endpoint.__struct_fields__}
    usual: dict[str, Any] = {
        "name": f"at-{name}/{name}",
        "provider": f"at-{name}",
        "model": made_model(name, **({"prices": (Price(RATES),)} | facts)),
        "upstream_model": name,
        "dialect": dialect,
        "base_url": f"{up.address}/v1",
        "signer": "bearer" if ids else "none",
        "secrets": tuple(Secret(id=f"env:{one}", env=one) for one in ids),
        "timeouts": Timeouts(connect_s=1.0, first_token_s=5.0, stall_s=5.0),
        "expected_tokens_per_s": 1e9,
    }
    return Endpoint(**(usual | own))


def catalog_of(*endpoints: Endpoint, **route: Any) -> Catalog:
    by_name: dict[str, tuple[Endpoint, ...]] = {}
    for one in endpoints:
        for name in {one.model.name, one.name}:
            by_name[name] = (*by_name.get(name, ()), one)
    in_order = Rule(ordered=True, models=tuple(one.name for one in endpoints))
    routes = (*default_routes(), Route(name=LIST, rules=(in_order,), **route))
    return Catalog(endpoints=endpoints, by_name=by_name, routes={one.name: one for one in routes})


def secret_of(name: str) -> str:
    """The credential in variable ``name``: none that looks like one."""
    return f"hush.{name.lower()}.0451"


@asynccontextmanager
async def serving(
    folder: Path,
    up: Scripted,
    *endpoints: Endpoint,
    limits: Limits = PATIENT,
    key: KeyLimits | None = None,
    routes: tuple[str, ...] = (),
    dice: float = 0.0,
    **route: Any,
) -> AsyncIterator[Served]:
    """Serve the endpoints until the block ends. With ``key`` callers need one, and have it;
    it may ask for ``routes``."""
    loop = asyncio.get_running_loop()
    trouble: list[Mapping[str, Any]] = []
    loop.set_exception_handler(lambda _, context: trouble.append(context))
    store = Store(folder / "fairlead.db", loop)
    now_ms = int(time() * 1000)
    made = create(store, PEPPER, "team", routes, limits=key, now_ms=now_ms) if key else None
    state = State(
        catalog_of(*endpoints, **route), store, Keys(PEPPER, list_keys(store)), lambda: dice
    )
    state.body_memory.most_bytes = limits.max_bodies_bytes
    state.ledger.recover(now_ms)
    env = {secret.env: secret_of(secret.env) for one in endpoints for secret in one.secrets}
    upstream = HttpUpstream("fairlead-test")
    dispatch = Dispatch(state, upstream, Signers(env, monotonic).sign, lambda: dice)
    written = BytesIO()
    journal, metrics, log = Journal(store), Metrics(), Log(written)
    facts: list[Fact] = []
    gateway = Gateway(state, dispatch, (journal, metrics, log, facts.append))
    admin = Admin(gateway, state, metrics.render, limits)
    replays = Replays(gateway, state.idempotency)
    listener = Listener(gateway, admin, limits, replays, state.body_memory)
    admin.ready = lambda: not listener.leaving
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        served = Served(
            *(up, state, store, journal, metrics, dispatch, gateway, listener, written, client),
            facts=facts,
            key=made[0] if made else "",
        )
        _, served.port = await listener.start("127.0.0.1", 0)
        try:
            yield served
        finally:
            await client.close()
            await listener.stop(1.0)
            await replays.close()
            log.close()
            await upstream.close()
            try:
                await served.settled()
                assert listener.in_flight == 0
                assert not trouble
            finally:
                await store.close()
