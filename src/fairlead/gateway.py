"""The path of a request, top to bottom. Start reading here.

Bytes come in as a Call; the key becomes a Caller, the body a Request; a frozen View of the world
gives a Plan; dispatch carries it out; its events are encoded in the caller's dialect; and one fact
tells ledger, health, journal, log and metrics what happened. Knows no HTTP server and no vendor.
"""

from asyncio import CancelledError, sleep
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from time import monotonic

import msgspec
from msgspec import Struct

from fairlead.decide import consider, decided
from fairlead.decide.cost import usd
from fairlead.decide.explain import as_json
from fairlead.decide.plan import Considered, baseline_nano_usd
from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Dialect, Encoder
from fairlead.dialects.dialect import Reply as ReplyFacts
from fairlead.dialects.wire import NOT_NARROWED, narrower, narrowing_from_headers, splice
from fairlead.dispatch import Carried, Dispatch, Errand
from fairlead.state import State
from fairlead.state.memory import Share
from fairlead.types.chat import End, Event, Request, Usage
from fairlead.types.decision import Caller
from fairlead.types.errors import (
    BadRequest,
    GatewayError,
    OurError,
    OverBudget,
    Overloaded,
    ShuttingDown,
    Unauthenticated,
)
from fairlead.types.facts import Attempted, Exchanged, Fact, Refused, Sink

MAX_NAME = 200
"""Characters of a caller's own words (workflow, step) that are put on record, and of a model's
name: no name that exists is longer, and messages and hints repeat it."""
LONG_BODY = 4 << 20
"""To read more bytes takes a while, and to write them anew does: others are served in between."""
CUT = "the gateway shuts down"
"""What a task is cancelled with (``Task.cancel(msg)``) when that is why."""


def shutting_down(attempts: tuple[Attempted, ...] = ()) -> ShuttingDown:
    return ShuttingDown(f"{CUT}; ask again", retry_after_s=1, attempts=attempts)


class Call(Struct, frozen=True):
    """A request as the listener received it."""

    request_id: str
    dialect: str
    body: bytes
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    credential: str | None
    at_ms: int
    """Unix milliseconds of arrival."""
    arrived_s: float
    """The same instant on the monotonic clock."""
    share: Share | None = None
    """To be kept for as long as ``body`` is."""


class Answer(Struct, frozen=True):
    """What the caller gets: ``body``, and then what is still to come of a ``stream``."""

    headers: Mapping[str, str]
    body: bytes
    stream: AsyncGenerator[bytes] | None = None
    share: Share | None = None
    """To be kept for as long as ``body`` is."""


class Gateway:
    cutting = False
    """All that still runs is cut: we stop."""

    def __init__(self, state: State, dispatch: Dispatch, sinks: Sequence[Sink]) -> None:
        self._state = state
        self._dispatch = dispatch
        self._sinks = sinks

    async def answer(self, call: Call) -> Answer:
        """Answer in the caller's dialect. Raises GatewayError before the first byte; after it,
        an error is a frame of the stream, and the stream then raises."""
        dialect = DIALECTS[call.dialect]
        known = Known()
        try:
            known.caller = self.identify(call)
            known.request = _narrowed(dialect.parse_request(call.body, call.headers), call)
            if len(call.body) > LONG_BODY:
                await sleep(0)
            view = self._state.view(known.caller, monotonic(), call.at_ms)
            known.considered = consider(known.request, known.caller, view)
            if known.request.operation == "count" and known.considered.plan is None:
                return _estimated(call, dialect, known.request, known.considered)
            plan = decided(known.considered, known.request, view)
            tokens = plan.task.input_tokens + plan.task.output_tokens
            self._state.limits.admit(known.caller, tokens, call.arrived_s)
        except GatewayError as refusal:
            if isinstance(refusal, OverBudget) and known.caller is not None:
                self._state.ledger.tell_of_holds(refusal, known.caller, call.at_ms)
            self._tell(_refused(call, known, refusal))
            raise
        errand = Errand(
            call.request_id, known.caller, known.request, plan, view.today, call.arrived_s
        )
        exchange = Exchange(call, errand, dialect, self)
        events = self._dispatch.carry(errand)
        if not known.request.stream:
            return await exchange.whole(events)
        return await exchange.begin(events)

    def identify(self, call: Call) -> Caller:
        """Raises Unauthenticated."""
        return self._state.keys.identify(call.credential)

    def turned_away(self, call: Call, refusal: GatewayError) -> None:
        """Put on record a request that the listener refused before its body was there."""
        known = Known()
        with suppress(Unauthenticated):
            known.caller = self.identify(call)
        self._tell(_refused(call, known, refusal))

    def is_cut(self, raised: BaseException) -> bool:
        """A cancellation says so, unless the time for something was up in that very moment: of
        several at once a task is told the first, which says nothing."""
        return raised.args == (CUT,) or (self.cutting and isinstance(raised, CancelledError))

    def cut(self, call: Call) -> ShuttingDown:
        """What to raise where a request was cut before it was answered; it is put on record. Kept
        in no frame that it is raised through: the two would keep each other, and the body."""
        cut = shutting_down()
        self.turned_away(call, cut)
        return cut

    def replayed(self, call: Call, caller: Caller, first: str, route: str) -> None:
        """Put on record that a caller was given the answer to request ``first`` again."""
        took_ms = (monotonic() - call.arrived_s) * 1000
        self._tell(
            Exchanged(
                request_id=call.request_id,
                at_ms=call.at_ms,
                caller=caller.id,
                caller_name=caller.name,
                dialect=call.dialect,
                operation="",
                asked=route,
                route=route,
                task="",
                difficulty=0.0,
                stream=False,
                attempts=(),
                outcome="ok",
                status=200,
                code="",
                finish=None,
                usage=None,
                cost_nano_usd=0,
                expected_cost_nano_usd=None,
                baseline_nano_usd=None,
                first_token_ms=None,
                total_ms=took_ms,
                overhead_ms=took_ms,
                reason=f"the answer to request {first}, replayed",
            )
        )

    def preview(self, call: Call) -> bytes:
        """What would be decided for this call, as JSON. Calls nothing and spends nothing."""
        caller = self.identify(call)
        request = _narrowed(DIALECTS[call.dialect].parse_request(call.body, call.headers), call)
        view = self._state.view(caller, monotonic(), call.at_ms)
        return as_json(consider(request, caller, view))

    def finished(self, errand: Errand, fact: Exchanged) -> None:
        self._tell(fact)
        self._state.observe(fact, monotonic())
        task = errand.plan.task
        if errand.carried.sent_s is None:
            # No money, no disk or no way across: what refused it may refuse it after the limits.
            taken = task.input_tokens + task.output_tokens
            self._state.limits.give_back(errand.caller, taken, monotonic())
        elif errand.caller.limits.tokens_per_minute is not None:
            used = [attempted.usage for attempted in fact.attempts]
            self._state.limits.correct(
                errand.caller,
                task.input_tokens + task.output_tokens,
                sum([usage.input_tokens + usage.output_tokens for usage in used if usage]),
                monotonic(),
            )

    def _tell(self, fact: Fact) -> None:
        for sink in self._sinks:
            sink(fact)


class Known:
    """What is known of a request so far, for the record of a refusal."""

    caller: Caller | None = None
    request: Request | None = None
    considered: Considered | None = None


class Exchange:
    """One request from its plan to its fact: events in, the caller's bytes out."""

    def __init__(self, call: Call, errand: Errand, dialect: Dialect, gateway: Gateway) -> None:
        self._call = call
        self._errand = errand
        self._dialect = dialect
        self._gateway = gateway
        self._told = self._all_said = False

    async def whole(self, events: AsyncGenerator[Event]) -> Answer:
        """The answer in one piece: nothing leaves before everything is known and settled."""
        pieces = [piece async for piece in self._pieces(events)]
        body = self._explained(b"".join(pieces))
        return Answer(self._headers(), body, share=self._errand.carried.share)

    async def begin(self, events: AsyncGenerator[Event]) -> Answer:
        """Wait for the first content: until then, a failure is an ordinary error response."""
        pieces = self._pieces(events)
        first = await anext(pieces, b"")
        return Answer(self._headers(), first, pieces)

    async def _pieces(self, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
        """Encode events as they come. The last piece waits until the attempt is on disk."""
        encoder: Encoder | None = None
        began = False
        try:
            async for event in events:
                if encoder is None:
                    # Only now is it known who answers.
                    encoder = self._dialect.encoder(self._errand.request, self._reply())
                piece = encoder.encode(event)
                if isinstance(event, End):
                    self._finish(None)
                    await self._on_disk()
                    self._all_said = True
                if piece:
                    began = True
                    yield piece
        except BaseException as raised:
            # The attempt settles as it closes, and is then part of what happened.
            await events.aclose()
            cut = self._gateway.is_cut(raised)
            if self._all_said and cut:
                return  # only its reader was waited for
            error = shutting_down(tuple(self._errand.carried.attempts)) if cut else raised
            self._finish(error)
            if not isinstance(error, GatewayError):
                del error  # see below
                raise
            try:
                await self._on_disk_unless_cut()
                if encoder is not None and began:
                    yield encoder.error(error)
                raise error from raised.__cause__
            finally:
                del error  # else it and this frame keep each other, and all that was read

    async def _on_disk(self) -> None:
        for settlement in self._errand.carried.settled:
            await settlement

    async def _on_disk_unless_cut(self) -> None:
        """Before an error, which stays what it is, even where the cut came while we waited here."""
        try:
            with suppress(Overloaded):
                await self._on_disk()
        except CancelledError as cancelled:
            if cancelled.args != (CUT,):
                raise

    def _finish(self, error: BaseException | None) -> None:
        """Tell what happened, once."""
        if not self._told:
            self._told = True
            self._gateway.finished(self._errand, _exchanged(self._call, self._errand, error))

    def _reply(self) -> ReplyFacts:
        by = self._errand.carried.by
        model = by.endpoint.model.name if by else self._errand.request.model
        return ReplyFacts(self._call.request_id, self._call.at_ms // 1000, model)

    def _headers(self) -> dict[str, str]:
        """Who answers and why; the cost too, where the answer is already complete."""
        carried, plan = self._errand.carried, self._errand.plan
        headers = {
            "x-fairlead-route": _header_text(plan.route),
            "x-fairlead-reason": _header_text(plan.reason),
            "x-fairlead-attempts": str(len(carried.attempts) + (carried.end is None)),
        }
        by = carried.by
        if by is not None:
            headers["x-fairlead-model"] = _header_text(by.endpoint.model.name)
            headers["x-fairlead-endpoint"] = _header_text(by.endpoint.name)
            if by.max_output_tokens is not None:
                headers["x-fairlead-max-output-tokens"] = str(by.max_output_tokens)
            if carried.end is None and by.expected_cost_nano_usd is not None:
                expected = usd(by.expected_cost_nano_usd)
                headers["x-fairlead-expected-cost-usd"] = expected
        cost_nano_usd = _total_nano_usd(carried)
        if carried.end is not None and cost_nano_usd is not None:
            headers["x-fairlead-cost-usd"] = usd(cost_nano_usd)
        if carried.dropped:
            headers["x-fairlead-dropped"] = _header_text(",".join(carried.dropped))
        return headers

    def _explained(self, body: bytes) -> bytes:
        """Add the ``fairlead`` object to a JSON answer, for callers who asked for it."""
        if self._call.headers.get("x-fairlead-explain", "").lower() not in ("1", "true", "yes"):
            return body
        explanation = {
            **{name.removeprefix("x-fairlead-"): text for name, text in self._headers().items()},
            "request-id": self._call.request_id,
            "plan": msgspec.Raw(as_json(self._errand.plan)),
        }
        return splice(body, {"fairlead": explanation})


def _narrowed(request: Request, call: Call) -> Request:
    """What the body's metadata and the headers ask for together: both only narrow."""
    if len(request.model) > MAX_NAME:
        raise BadRequest(f"model: no name has more than {MAX_NAME} characters", param="model")
    asked = narrowing_from_headers(call.headers)
    if asked is NOT_NARROWED:
        return request
    return msgspec.structs.replace(request, narrowing=narrower(request.narrowing, asked))


def _header_text(text: str) -> str:
    """Fit for a header: names in it may come from a file or a caller (RFC 9110 section 5.5)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _total_nano_usd(carried: Carried) -> int | None:
    costs = [attempted.cost_nano_usd for attempted in carried.attempts]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _exchanged(call: Call, errand: Errand, error: BaseException | None) -> Exchanged:
    carried, plan, request = errand.carried, errand.plan, errand.request
    failed = error if isinstance(error, GatewayError) else OurError("an error in the gateway")
    left = isinstance(error, CancelledError | GeneratorExit)
    now_s = monotonic()
    first_s, sent_s = carried.first_token_s, carried.sent_s
    usage = carried.attempts[-1].usage if carried.attempts else None
    return Exchanged(
        request_id=call.request_id,
        at_ms=call.at_ms,
        caller=errand.caller.id,
        caller_name=errand.caller.name,
        dialect=request.dialect,
        operation=request.operation,
        asked=request.model,
        route=plan.route,
        task=plan.task.kind,
        difficulty=plan.task.difficulty,
        stream=request.stream,
        attempts=tuple(carried.attempts),
        outcome="ok" if error is None else "cancelled" if left else "failed",
        # 499 is nginx's word for a caller who left.
        status=200 if error is None else 499 if left else failed.status,
        code="" if error is None else "cancelled" if left else failed.code,
        finish=carried.end.reason if carried.end else None,
        usage=usage,
        cost_nano_usd=_total_nano_usd(carried),
        expected_cost_nano_usd=plan.attempts[0].expected_cost_nano_usd,
        baseline_nano_usd=baseline_nano_usd(plan, usage, errand.today),
        first_token_ms=None if first_s is None else (first_s - call.arrived_s) * 1000,
        total_ms=(now_s - call.arrived_s) * 1000,
        overhead_ms=((sent_s or now_s) - call.arrived_s) * 1000,
        reason=plan.reason,
        dropped=carried.dropped,
        estimated_input_tokens=None if plan.task.needs else plan.task.input_tokens,
        workflow=call.headers.get("x-fairlead-workflow", "")[:MAX_NAME],
        step=call.headers.get("x-fairlead-step", "")[:MAX_NAME],
        plan=plan,
    )


def _refused(call: Call, known: Known, refusal: GatewayError) -> Refused:
    caller, request, considered = known.caller, known.request, known.considered
    return Refused(
        request_id=call.request_id,
        at_ms=call.at_ms,
        caller=caller.id if caller else "",
        caller_name=caller.name if caller else "",
        dialect=call.dialect,
        asked=request.model if request else "",
        status=refusal.status,
        code=refusal.code,
        message=refusal.message,
        total_ms=(monotonic() - call.arrived_s) * 1000,
        operation=request.operation if request else "",
        route=considered.route.name if considered else "",
        task=considered.task.kind if considered else "",
        difficulty=considered.task.difficulty if considered else 0.0,
        workflow=call.headers.get("x-fairlead-workflow", "")[:MAX_NAME],
        step=call.headers.get("x-fairlead-step", "")[:MAX_NAME],
        plan=as_json(considered) if considered else b"",
    )


def _estimated(call: Call, dialect: Dialect, request: Request, considered: Considered) -> Answer:
    """A count of tokens where no permitted endpoint counts: our own estimate, which leaves nothing
    and costs nothing. Anthropic calls its own an estimate as well."""
    encoder = dialect.encoder(request, ReplyFacts(call.request_id, call.at_ms // 1000, ""))
    usage = Usage(input_tokens=considered.task.input_tokens)
    headers = {
        "x-fairlead-route": _header_text(considered.route.name),
        "x-fairlead-reason": "estimated here: no permitted endpoint counts tokens",
        "x-fairlead-attempts": "0",
    }
    return Answer(headers, encoder.encode(End("stop", usage)))
