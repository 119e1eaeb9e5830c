"""Carry out a plan: try, and on failure ask decide.failover whom to try next.

Speaks the endpoints' dialects and yields events; knows no caller's dialect and ranks nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from time import time

from msgspec import Struct, field

from fairlead.decide.cost import cost_nano_usd, price_version
from fairlead.decide.failover import Tried, next_attempt, pause_s
from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Decoder, Dialect
from fairlead.outside.upstream import Reply, Upstream
from fairlead.outside.watchdog import Watchdog
from fairlead.state import State
from fairlead.state.ledger import Hold
from fairlead.types.catalog import Endpoint, Secret
from fairlead.types.chat import Begin, End, Event, Passed, Request, TextDelta, ToolCallDelta, Usage
from fairlead.types.decision import Attempt, Caller, Plan
from fairlead.types.errors import Failure, OurError, Unavailable, UpstreamError
from fairlead.types.facts import Attempted, Basis

Sign = Callable[[Endpoint, Secret | None], Mapping[str, str]]

MAX_ANSWER_BYTES = 64 << 20
"""A complete answer that is not streamed; 128k tokens of text are about half a megabyte."""
MAX_ERROR_BYTES = 256 << 10

NOT_CHARGED = {
    Failure.RATE_LIMIT,
    Failure.QUOTA,
    Failure.OVERLOADED,
    Failure.CONNECT,
    Failure.MODEL_GONE,
    Failure.CREDENTIAL,
    Failure.CONTEXT_LENGTH,
    Failure.CALLER_FAULT,
}
"""The endpoint said no before it worked; for the rest it may have, and we settle an estimate."""


class Carried:
    """What has happened so far while one plan is carried out. The gateway reads it at the end."""

    __slots__ = ("attempts", "by", "dropped", "end", "first_token_s", "sent_s", "settled")

    def __init__(self) -> None:
        self.attempts: list[Attempted] = []
        self.settled: list[Awaitable[None]] = []
        self.by: Attempt | None = None
        """The attempt that is answering or was the last to try."""
        self.dropped: tuple[str, ...] = ()
        self.end: End | None = None
        self.sent_s: float | None = None
        self.first_token_s: float | None = None


class Errand(Struct):
    """One request on its way: who asks, what, by which plan, and what came of it so far."""

    request_id: str
    caller: Caller
    request: Request
    plan: Plan
    today: str
    """ISO date, for prices."""
    arrived_s: float
    carried: Carried = field(default_factory=Carried)


class Dispatch:
    """Carries out plans. One per process; holds nothing of any request."""

    def __init__(
        self, state: State, upstream: Upstream, sign: Sign, dice: Callable[[], float]
    ) -> None:
        """``dice`` gives a number in [0, 1) at each call."""
        self._state = state
        self._upstream = upstream
        self._sign = sign
        self._dice = dice

    async def carry(self, errand: Errand) -> AsyncGenerator[Event]:
        """Yield the answer of the first attempt that gives one.

        Nothing is yielded before the first content, so until then another endpoint can take over
        unseen. Raises UpstreamError with every attempt on record, or OverBudget.
        """
        plan, loop = errand.plan, asyncio.get_running_loop()
        tried: list[Tried] = []
        answering = False
        attempt = next_attempt(plan, tried, 0.0, False)
        while attempt is not None:
            held_back: list[Event] = []
            try:
                async with aclosing(self._attempt(attempt, errand)) as events:
                    async for event in events:
                        if not answering:
                            if not _commits(event):
                                held_back.append(event)
                                continue
                            answering = True
                            for earlier in held_back:
                                yield earlier
                        yield event
                return
            except UpstreamError as error:
                tried.append(Tried(attempt, error))
                elapsed_s = loop.time() - errand.arrived_s
                attempt = next_attempt(plan, tried, elapsed_s, answering)
            if attempt is not None and (wait_s := pause_s(attempt, tried, self._dice())) > 0:
                await asyncio.sleep(wait_s)
        raise _given_up(tried, errand.carried)

    async def _attempt(self, attempt: Attempt, errand: Errand) -> AsyncGenerator[Event]:
        """One try: hold the money, send, decode; whatever happens, settle and tell health."""
        endpoint, request, carried = attempt.endpoint, errand.request, errand.carried
        if endpoint.name not in errand.plan.grant.endpoints:
            raise OurError(f"the plan names {endpoint.name}, which its grant does not allow")
        dialect, relay = _spoken(request, endpoint)
        rendered = dialect.render_request(request, endpoint, attempt.max_output_tokens)
        carried.by, carried.dropped = attempt, rendered.dropped + (() if relay else request.loose)
        trial = Trial(attempt, errand, self._state)
        try:
            await trial.open()
            headers = {**rendered.headers, **self._sign(endpoint, attempt.secret)}
            url = endpoint.base_url + rendered.path
            trial.sent = True
            async with self._upstream.send(url, headers, rendered.body, endpoint.timeouts) as reply:
                trial.status = reply.status
                if reply.status != 200:
                    body = await reply.read(MAX_ERROR_BYTES)
                    raise dialect.parse_error(reply.status, reply.headers, body)
                async for event in trial.answer(reply, dialect.decoder(request, relay)):
                    yield event
        except UpstreamError as error:
            trial.fail(error)
            raise
        except asyncio.CancelledError:
            if not trial.watchdog.caught():
                raise
            raise trial.fail(trial.timed_out()) from None
        finally:
            trial.close()


class Trial:
    """One attempt while it lasts: its hold, its clock, its count of what was answered."""

    def __init__(self, attempt: Attempt, errand: Errand, state: State) -> None:
        self._attempt, self._errand, self._state = attempt, errand, state
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._first_s: float | None = None
        self._counted_tokens = 0
        self._end: End | None = None
        self._error: UpstreamError | None = None
        self._hold: Hold | None = None
        self._closed = False
        self.sent = False
        self.status: int | None = None
        deadline_s = errand.arrived_s + errand.plan.deadline_s
        self.watchdog = Watchdog(self._loop, deadline_s)

    async def open(self) -> None:
        """Reserve, and wait until the intent is durable where a hard budget depends on it."""
        state, errand, attempt = self._state, self._errand, self._attempt
        if not state.health.begin(attempt.key, self._began_s):
            raise UpstreamError(Failure.OVERLOADED, "a probe of this endpoint is already out")
        self._hold = state.ledger.hold(
            f"{errand.request_id}.{len(errand.carried.attempts) + 1}",
            errand.request_id,
            errand.caller,
            attempt,
            int(time() * 1000),
        )
        if errand.caller.has_budget:
            await self._hold.durable
        self.watchdog.expect(self._patience_s())
        if errand.carried.sent_s is None:
            errand.carried.sent_s = self._loop.time()

    async def answer(self, reply: Reply, decoder: Decoder) -> AsyncGenerator[Event]:
        """Decode the reply under the watchdog; the clock stands while the caller is slow."""
        watchdog, stall_s = self.watchdog, self._attempt.endpoint.timeouts.stall_s
        if not self._errand.request.stream:
            body = await reply.read(MAX_ANSWER_BYTES)
            watchdog.pause()
            for event in (*decoder.feed(body), *decoder.close()):
                self._count(event)
                yield event
            return
        while self._end is None:
            data = await reply.chunk()
            due_s, alive = watchdog.pause(), False
            for event in decoder.close() if data is None else decoder.feed(data):
                alive |= self._count(event)
                yield event
            if alive:
                watchdog.expect(stall_s)
            else:
                watchdog.resume(due_s)

    def _count(self, event: Event) -> bool:
        """Note what the answer has so far; whether the event is a sign of life (pings are not)."""
        if isinstance(event, End):
            self._end = self._errand.carried.end = event
            # Settled before the caller sees the end, so that the end can wait for the disk.
            self.close()
        elif isinstance(event, Passed):
            # A frame of a stream is a token or a few: enough for an answer that breaks off.
            self._counted_tokens += event.data.count(b"\n\n") if event.commits else 0
        elif isinstance(event, TextDelta | ToolCallDelta):
            self._counted_tokens += 1
        alive = _commits(event)
        if alive and self._first_s is None:
            self._first_s = self._loop.time()
            if self._errand.carried.first_token_s is None:
                self._errand.carried.first_token_s = self._first_s
        return alive

    def fail(self, error: UpstreamError) -> UpstreamError:
        self._error = error
        return error

    def timed_out(self) -> UpstreamError:
        if self._first_s is not None and self._errand.request.stream:
            return UpstreamError(Failure.STREAM_BROKEN, "the stream stalled")
        return UpstreamError(Failure.SILENT, "no answer in time", upstream_status=self.status)

    def close(self) -> None:
        """Settle exactly once and tell health. Runs however the attempt ends, and never waits."""
        if self._closed:
            return
        self._closed = True
        self.watchdog.stop()
        attempted = self._attempted()
        if self._hold is not None:
            self._errand.carried.settled.append(
                self._state.ledger.settle(self._hold, attempted, int(time() * 1000))
            )
            self._errand.carried.attempts.append(attempted)
        self._state.observe(attempted, self._loop.time())

    def _attempted(self) -> Attempted:
        attempt, errand, error = self._attempt, self._errand, self._error
        endpoint = attempt.endpoint
        usage, basis = self._usage()
        cost = cost_nano_usd(usage, endpoint.model, errand.today) if usage else 0
        now_s = self._loop.time()
        failure = error.failure.value if error else "" if self._end else "cancelled"
        return Attempted(
            id=self._hold.attempt_id if self._hold else "",
            endpoint=endpoint.name,
            provider=endpoint.provider,
            model=endpoint.model.name,
            zone=endpoint.zone,
            credential=attempt.key[1],
            failure=failure,
            message=error.message if error else "",
            status=self.status,
            began_ms=(self._began_s - errand.arrived_s) * 1000,
            first_token_ms=(self._first_s - self._began_s) * 1000 if self._first_s else None,
            total_ms=(now_s - self._began_s) * 1000,
            usage=usage,
            cost_nano_usd=cost,
            basis="price_unknown" if cost is None else basis,
            price_version=price_version(endpoint.model, errand.today),
            retry_after_s=error.retry_after_s if error else None,
        )

    def _usage(self) -> tuple[Usage | None, Basis]:
        if self._end is not None and self._end.usage is not None:
            spent = self._end.usage
            used = spent.input_tokens or spent.output_tokens
            return spent, "provider_usage" if used else "provider_zero"
        if not self.sent or (self._first_s is None and self._was_rejected()):
            return None, "rejected_zero"
        task = self._errand.plan.task
        whole = self._end is not None or not self._errand.request.stream
        output_tokens = task.output_tokens if whole else self._counted_tokens
        return Usage(task.input_tokens, output_tokens), "partial_estimate"

    def _was_rejected(self) -> bool:
        error = self._error
        return error is not None and (
            error.failure in NOT_CHARGED or (self.status is not None and self.status >= 400)
        )

    def _patience_s(self) -> float:
        """How long the first content may take; an answer in one piece takes its whole length."""
        endpoint, request = self._attempt.endpoint, self._errand.request
        patience_s = endpoint.timeouts.first_token_s
        if request.stream or request.operation != "chat":
            return patience_s
        tokens = request.max_output_tokens or endpoint.model.max_output_tokens or 4096
        return patience_s + 2 * tokens / endpoint.expected_tokens_per_s


def _spoken(request: Request, endpoint: Endpoint) -> tuple[Dialect, bool]:
    """The dialect to speak, and whether the answer's bytes can be passed on as they are.

    Embeddings and token counts are never translated: only endpoints that know them get them.
    """
    if request.operation != "chat":
        return DIALECTS[request.dialect], True
    return DIALECTS[endpoint.dialect], endpoint.dialect == request.dialect


def _commits(event: Event) -> bool:
    if isinstance(event, Passed):
        return event.commits
    return not isinstance(event, Begin)


def _given_up(tried: list[Tried], carried: Carried) -> Exception:
    """What the caller is told: the last failure, with every attempt and the soonest retry."""
    attempts = tuple(carried.attempts)
    if not tried:
        return Unavailable("no endpoint may be tried", attempts=attempts)
    last = tried[-1].error
    waits = [t.error.retry_after_s for t in tried if t.error.retry_after_s is not None]
    story = "; ".join(f"{t.attempt.endpoint.name}: {t.error.message}" for t in tried)
    error = UpstreamError(
        last.failure,
        last.message if len(tried) == 1 else f"{len(tried)} attempts failed: {story}",
        upstream_status=last.upstream_status,
        upstream_code=last.upstream_code,
        retry_after_s=min(waits) if waits else None,
        param=last.param,
        attempts=attempts,
    )
    error.__cause__ = last
    return error
