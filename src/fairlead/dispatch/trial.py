"""One attempt while it lasts: hold the money, send, decode, settle. Ranks nothing."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic, time
from types import TracebackType

from msgspec.structs import replace

from fairlead.decide.cost import cost_nano_usd, price_version
from fairlead.decide.rescue import STALLED
from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Decoder, Dialect
from fairlead.dialects.headroom import dry_for_s
from fairlead.dispatch.errand import Errand
from fairlead.dispatch.told import (
    DIVERGED,
    UNTERMINATED,
    Diverged,
    in_brief,
    masked,
    recorded,
)
from fairlead.outside.upstream import Reply, Upstream
from fairlead.outside.watchdog import Watchdog
from fairlead.state import State
from fairlead.state.ledger import AT_ONCE, Hold
from fairlead.state.memory import Share
from fairlead.types.catalog import Endpoint, Secret
from fairlead.types.chat import Begin, End, Event, Passed, Request, Usage
from fairlead.types.decision import Attempt
from fairlead.types.errors import Failure, OurError, UpstreamError
from fairlead.types.facts import Attempted, Basis

Sign = Callable[[Endpoint, Secret | None], Mapping[str, str]]

MAX_ANSWER_BYTES = 64 << 20
"""A complete answer that is not streamed; 128k tokens of text are about half a megabyte."""
WINDOW = 1 << 20
"""Bytes of an answer that are kept while it streams: what is longer is not gone on with if its
stream breaks."""
KEPT = 64 << 20
"""Of all answers together, about: each new one may keep its share of it."""
MAX_ERROR_BYTES = 256 << 10
ERROR_BODY_S = 2.0
"""How long an error's body may take: its status has said what matters, and another waits."""

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


class Trial:
    """One attempt while it lasts: hold the money, send, decode; however it ends, settle and tell
    health. Use as ``async with``, and ask for ``events`` until it is ``over``.

    Not a generator: each one between endpoint and caller costs every event of a stream.
    """

    def __init__(
        self, attempt: Attempt, errand: Errand, state: State, upstream: Upstream, sign: Sign
    ) -> None:
        self._attempt, self._errand, self._state = attempt, errand, state
        self._upstream, self._sign = upstream, sign
        self._signed: Mapping[str, str] = {}
        self._exchange: AbstractAsyncContextManager[Reply] | None = None
        self._began_s = monotonic()
        self._first_s: float | None = None
        if errand.plan.rescue and errand.request.stream:
            self._read = []
            self._room = min(WINDOW, KEPT // (state.ledger.open_holds + 1))
        self._end: End | None = None
        self._error: UpstreamError | None = None
        self._refused: UpstreamError | None = None
        self._hold: Hold | None = None
        self._closed = False
        self._sent = False
        self._status: int | None = None
        self._due_s: float | None = None
        """When a sign of life was due, where the last piece was none."""
        self._alive = False
        deadline_s = errand.arrived_s + errand.plan.deadline_s
        self._watchdog = Watchdog(asyncio.get_running_loop(), deadline_s)

    _reply: Reply
    _decoder: Decoder
    _read: list[bytes] | None = None
    """What the endpoint sent so far. None where it is not kept."""
    _room = WINDOW
    _share: Share | None = None
    _kept_out = False
    _why = ""
    """What is to be said of it, where it did not fail."""

    @property
    def over(self) -> bool:
        return self._end is not None

    @property
    def counted_tokens(self) -> int:
        """Of the answer so far: a frame of a stream is a token or a few."""
        return self._decoder.content_frames

    async def __aenter__(self) -> "Trial":
        attempt, errand, endpoint = self._attempt, self._errand, self._attempt.endpoint
        request, carried = errand.request, errand.carried
        if endpoint.name not in errand.plan.grant.endpoints:
            raise OurError(f"the plan names {endpoint.name}, which its grant does not allow")
        dialect, own = _spoken(request, endpoint)
        rendered = dialect.render_request(request, endpoint, attempt.max_output_tokens)
        try:
            await self._reserve()
            carried.by = attempt
            dropped = rendered.dropped + (() if own else request.loose)
            carried.dropped = in_brief(dropped) if dropped else dropped
            self._signed = self._sign(endpoint, attempt.secret)
            headers = {**rendered.headers, **self._signed}
            url = endpoint.base_url + rendered.path
            self._sent = True
            self._exchange = self._upstream.send(url, headers, rendered.body, endpoint.timeouts)
            del rendered  # it may be long, and so may the answer take
            self._reply = await self._exchange.__aenter__()
        except BaseException as error:
            self._exchange = None
            self._ended(error)
            raise
        self._decoder = dialect.decoder(request, own and not errand.continues)
        self._status = self._reply.status
        if self._status != 200:
            self._refused = dialect.parse_error(self._status, self._reply.headers, b"")
        elif (dry_s := dry_for_s(self._reply.headers)) is not None:
            self._state.health.dry(attempt.key, dry_s, monotonic())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._exchange is not None:
                await self._exchange.__aexit__(kind, error, trace)
        finally:
            self._ended(error)

    async def events(self) -> Sequence[Event]:
        """What the endpoint says next. The clock stands while the caller is slow to take it."""
        if self._refused is not None:
            raise await self._refusal()
        if not self._errand.request.stream:
            body = await self._reply.read(MAX_ANSWER_BYTES, self._take)
            self._watchdog.pause()
            events = self._last((*self._decoder.feed(body), *self._decoder.close()))
            self._errand.carried.share = self._share
            return events
        if self._alive:
            self._watchdog.expect(self._attempt.endpoint.timeouts.stall_s)
        elif self._due_s is not None:
            self._watchdog.resume(self._due_s)
        try:
            data = await self._reply.chunk()
        except (UpstreamError, asyncio.CancelledError) as error:
            if (end := self._ending(error)) is None:
                raise
            return self._counted((end,))
        self._due_s = self._watchdog.pause()
        if data is None:
            self._why = UNTERMINATED
            return self._last(self._decoder.close())
        if self._read is not None:
            self._read.append(data)
            self._room -= len(data)
            self._read = self._read if self._room >= 0 else None
        events = self._decoder.feed(data)
        if not events or self._share is not None:
            self._weigh(events, len(data))
        return self._counted(events)

    def _weigh(self, events: Sequence[Event], size: int) -> None:
        """A piece without an event is a part of one, and waits here. Raises Overloaded."""
        if not events:
            self._take(size)
        elif self._share is not None:
            self._share.give_back()

    def _last(self, events: Sequence[Event]) -> Sequence[Event]:
        """Nothing follows. Raises UpstreamError unless there is an end."""
        counted = self._counted(events)
        if self._end is None:
            raise UpstreamError(Failure.STREAM_BROKEN, "the answer has no end")
        return counted

    def _ending(self, error: UpstreamError | asyncio.CancelledError) -> End | None:
        """The end of a stream that was cut or fell silent once all was said, and why it ends: only
        frames are missing that every answer has. Of several answers one may not have begun."""
        if isinstance(error, asyncio.CancelledError) and not self._watchdog.caught():
            return None
        if self._errand.request.answers > 1:
            return None
        self._why = UNTERMINATED
        with suppress(UpstreamError):
            self._decoder.feed(b"")  # raises what it holds back
            return self._decoder.ending()
        return None

    def _take(self, size: int) -> None:
        """So much more waits here for what it belongs to. Raises Overloaded."""
        if self._share is None:
            self._share = Share(self._state.answer_memory)
        self._share.take(size)

    async def _reserve(self) -> None:
        """Reserve, and wait until the intent is durable where a hard budget depends on it."""
        state, errand, attempt = self._state, self._errand, self._attempt
        if not state.health.begin(attempt.key, self._began_s):
            if not (attempt.last_resort or errand.regardless):
                raise UpstreamError(Failure.OVERLOADED, "a probe of this endpoint is already out")
            self._kept_out = True
        self._hold = state.ledger.hold(
            f"{errand.request_id}.{len(errand.carried.attempts) + 1}",
            errand.request_id,
            errand.caller,
            attempt,
            int(time() * 1000),
        )
        if self._hold.durable is not AT_ONCE:
            state.health.not_asked_yet(attempt.key)
            await self._hold.durable
            state.health.asked(attempt.key, monotonic())
        patience_s, first_s = self._patience_s(), attempt.endpoint.timeouts.first_token_s
        if patience_s > first_s:
            self._watchdog.doubt(first_s, state.health.is_silent, attempt.key)
        self._watchdog.expect(patience_s)
        if errand.carried.sent_s is None:
            errand.carried.sent_s = monotonic()

    def _counted(self, events: Sequence[Event]) -> Sequence[Event]:
        self._alive = False
        for event in events:
            self._alive |= self._count(event)
        return events

    def _count(self, event: Event) -> bool:
        """Note what the answer has so far; whether the event is a sign of life (pings are not)."""
        if isinstance(event, End):
            self._end = self._errand.carried.end = event
            # Settled before the caller sees the end, so that the end can wait for the disk.
            self._close()
        alive = commits(event)
        if alive and self._first_s is None:
            self._first_s = monotonic()
            if self._errand.request.stream:
                self._state.health.heard(self._attempt.key)
            if self._errand.carried.first_token_s is None:
                self._errand.carried.first_token_s = self._first_s
        return alive

    def said(self, translated: bool = False) -> tuple[list[Event], End | None] | None:
        """All events of a stream that broke, again, and its end where that was as good as told;
        None where they were not kept. Only what was read is kept, which costs next to nothing: the
        same bytes give the same events. ``translated``: none of them as passed bytes."""
        if self._read is None:
            return None
        request, events = self._errand.request, list[Event]()
        dialect, own = _spoken(request, self._attempt.endpoint)
        relays = own and not (translated or self._errand.continues)
        decoder = dialect.decoder(request, relays)
        with suppress(UpstreamError):
            for data in self._read:
                events += decoder.feed(data)
        return events, decoder.ending()

    async def _refusal(self) -> UpstreamError:
        """What the endpoint said instead of an answer; as much of it as comes in time."""
        request, endpoint = self._errand.request, self._attempt.endpoint
        self._watchdog.expect(min(endpoint.timeouts.stall_s, ERROR_BODY_S))
        body = b""
        with suppress(UpstreamError):
            while len(body) < MAX_ERROR_BYTES and (data := await self._reply.chunk()) is not None:
                body += data
        dialect, _ = _spoken(request, endpoint)
        return dialect.parse_error(self._reply.status, self._reply.headers, body)

    def _ended(self, error: BaseException | None) -> None:
        """Settle. Raises UpstreamError where that is what ``error`` means."""
        try:
            if isinstance(error, UpstreamError):
                self._error = masked(error, self._signed)
                raise self._error from error.__cause__
            if isinstance(error, Diverged):
                self._why = DIVERGED
            if isinstance(error, asyncio.CancelledError) and self._watchdog.caught():
                self._error = self._timed_out()
                raise self._error from None
        finally:
            self._close()

    def _timed_out(self) -> UpstreamError:
        if self._refused is not None:
            return self._refused
        if self._first_s is not None and self._errand.request.stream:
            stalled = "the stream stalled"
            return UpstreamError(Failure.STREAM_BROKEN, stalled, upstream_code=STALLED)
        told = f"no answer in time, which was {monotonic() - self._began_s:.2g} s"
        return UpstreamError(Failure.SILENT, told, upstream_status=self._status)

    def _close(self) -> None:
        """Settle exactly once and tell health. Runs however the attempt ends, and never waits."""
        if self._closed:
            return
        self._closed = True
        self._watchdog.stop()
        if self._share is not None and (self._end is None or self._errand.request.stream):
            self._share.give_back()
        attempted = self._attempted()
        if self._hold is not None:
            self._errand.carried.settled.append(
                self._state.ledger.settle(self._hold, attempted, int(time() * 1000))
            )
            self._errand.carried.attempts.append(attempted)
        self._state.observe(attempted, monotonic())

    def _attempted(self) -> Attempted:
        attempt, errand, error = self._attempt, self._errand, self._error
        endpoint = attempt.endpoint
        usage, basis = self._usage()
        cost = cost_nano_usd(usage, endpoint.model, errand.today) if usage else 0
        if basis == "partial_estimate" and cost is not None:
            cost = self._at_most_reserved(cost, usage)
        now_s = monotonic()
        failure = error.failure.value if error else "" if self._end else "cancelled"
        return Attempted(
            id=self._hold.attempt_id if self._hold else "",
            endpoint=endpoint.name,
            provider=endpoint.provider,
            model=endpoint.model.name,
            zone=endpoint.zone,
            credential=attempt.key[1],
            failure=failure,
            message=recorded(error) if error else self._why,
            status=self._status,
            began_ms=(self._began_s - errand.arrived_s) * 1000,
            first_token_ms=(self._first_s - self._began_s) * 1000 if self._first_s else None,
            total_ms=(now_s - self._began_s) * 1000,
            usage=usage,
            cost_nano_usd=cost,
            basis="price_unknown" if cost is None else basis,
            price_version=price_version(endpoint.model, errand.today),
            retry_after_s=error.retry_after_s if error else None,
            kept_out=self._kept_out,
        )

    def _usage(self) -> tuple[Usage | None, Basis]:
        if self._errand.request.operation == "count":
            # What is counted is not used, and counting is free (decide.eligible).
            return None, "provider_zero"
        if self._end is not None and self._end.usage is not None:
            spent = self._end.usage
            used = spent.input_tokens or spent.output_tokens
            return spent, "provider_usage" if used else "provider_zero"
        if not self._sent or (self._first_s is None and self._was_rejected()):
            return None, "rejected_zero"
        return self._estimate(), "partial_estimate"

    def _estimate(self) -> Usage:
        """Of an answer that broke off or did not say: what it had reported by then (Anthropic's
        begins with the input), and a token for each frame with content."""
        task = self._errand.plan.task
        if not self._errand.request.stream:
            return Usage(task.input_tokens, task.output_tokens * self._errand.request.answers)
        if self._status is None:
            return Usage(task.input_tokens, 0)
        frames, reported = self._decoder.content_frames, self._decoder.reported()
        request, attempt = self._errand.request, self._attempt
        most = attempt.max_output_tokens or request.max_output_tokens
        if most is not None:
            frames = min(frames, most * request.answers)  # there may be more frames than tokens
        # Some servers begin with a zero that means nothing yet.
        if reported is None or not reported.input_tokens:
            return Usage(task.input_tokens, frames)
        return replace(reported, output_tokens=max(reported.output_tokens, frames))

    def _at_most_reserved(self, cost_nano_usd: int, usage: Usage | None) -> int:
        """A guess charges no more than was set aside for the worst; what was reported does."""
        worst = self._attempt.worst_cost_nano_usd
        guessed = usage is not None and usage.input_tokens == self._errand.plan.task.input_tokens
        return cost_nano_usd if worst is None or not guessed else min(cost_nano_usd, worst)

    def _was_rejected(self) -> bool:
        # Its status has said so, even where the caller did not stay for the rest.
        error = self._error or self._refused
        return error is not None and (
            error.failure in NOT_CHARGED or (self._status is not None and self._status >= 300)
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
    """The dialect to speak, and whether it is the caller's own.

    Embeddings and token counts are never translated: only endpoints that know them get them.
    """
    if request.operation != "chat":
        return DIALECTS[request.dialect], True
    return DIALECTS[endpoint.dialect], endpoint.dialect == request.dialect


def commits(event: Event) -> bool:
    if isinstance(event, Passed):
        return event.commits
    return not isinstance(event, Begin)
