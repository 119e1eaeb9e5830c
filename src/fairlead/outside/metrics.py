"""Counts and times in Prometheus' text format: a sink. Described in docs/metrics.md.

Counted in plain dicts, because a request touches a dozen of them: the client library's own
counters, each with a lock, would cost several times as much. It does the writing out.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fairlead.types.decision import Vitals
from fairlead.types.errors import Failure
from fairlead.types.facts import Attempted, Exchanged, Fact, Refused

NANO_PER_USD = 1_000_000_000
MOST_SERIES = 2000
"""Of one metric. Labels come from the catalogue and from fixed tables, but a catalogue that is
reloaded for months has many names: beyond this they are all counted as ``other``."""
OTHER = "other"
TOGETHER = 128
"""Facts counted in one go: in a row they take half as long as one by one between requests."""
LARGEST = 2**53
"""An endpoint may report any number of tokens, and what is shown must fit a float."""

FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
SLOW_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)

BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}

Labels = tuple[str, ...]


class Counter:
    """``counts`` by label values."""

    __slots__ = ("counts", "help", "labels", "name", "unit")

    def __init__(self, name: str, text: str, labels: Labels = (), unit: int = 1) -> None:
        """``unit``: how many of what is counted make one of what is shown."""
        self.name, self.help, self.labels, self.unit = name, text, labels, unit
        self.counts: dict[Labels, int] = {} if labels else {(): 0}

    def add(self, labels: Labels, count: int = 1) -> None:
        counts = self.counts
        if labels not in counts and len(counts) >= MOST_SERIES:
            labels = (OTHER,) * len(self.labels)
        counts[labels] = counts.get(labels, 0) + count

    def family(self) -> Metric:
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, min(count, LARGEST) / self.unit)
        return family


class Histogram:
    """Seconds, in buckets, by label values."""

    __slots__ = ("bounds", "help", "labels", "name", "series")

    def __init__(
        self, name: str, text: str, bounds: tuple[float, ...], labels: Labels = ()
    ) -> None:
        self.name, self.help, self.bounds, self.labels = name, text, bounds, labels
        self.series: dict[Labels, list[float]] = {}
        """A count for each bucket and for what lies beyond; the sum comes last."""
        if not labels:
            self._open(())

    def observe(self, labels: Labels, seconds: float) -> None:
        series = self.series.get(labels) or self._open(labels)
        series[bisect_left(self.bounds, seconds)] += 1
        series[-1] += seconds

    def family(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        edges = [*map(str, self.bounds), "+Inf"]
        for labels, (*counts, total_s) in self.series.items():
            running, buckets = 0.0, []
            for edge, count in zip(edges, counts, strict=True):
                running += count
                buckets.append((edge, running))
            family.add_metric(labels, buckets, sum_value=total_s)
        return family

    def _open(self, labels: Labels) -> list[float]:
        if len(self.series) >= MOST_SERIES:
            labels = (OTHER,) * len(self.labels)
        return self.series.setdefault(labels, [0.0] * (len(self.bounds) + 2))


def _nothing() -> int:
    return 0


class Live(Struct, frozen=True):
    """What is read off at the moment of asking."""

    vitals: Callable[[], Mapping[tuple[str, str], Vitals]] = dict
    in_flight: Callable[[], int] = _nothing
    shed: Callable[[], int] = _nothing
    answer_bytes: Callable[[], int] = _nothing
    body_bytes: Callable[[], int] = _nothing
    open_holds: Callable[[], int] = _nothing
    rows_waiting: Callable[[], int] = _nothing
    records_lost: Callable[[], int] = _nothing
    """Log lines and journal entries together."""
    generation: Callable[[], int] = _nothing


class Metrics(Collector):
    """A sink; ``render`` is what GET /metrics answers. For the loop's thread only."""

    def __init__(self, live: Live = Live()) -> None:  # noqa: B008 - frozen
        self._live = live
        self._uncounted: list[Fact] = []
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "fairlead_requests",
            "Requests that reached an endpoint, by how they ended.",
            ("dialect", "route", "task", "outcome", "code"),
        )
        self.refused = Counter(
            "fairlead_refused", "Requests turned away before any endpoint was asked.", ("code",)
        )
        self.attempts = Counter(
            "fairlead_attempts",
            "Tries at endpoints; failure is empty for one that answered.",
            ("endpoint", "credential", "failure"),
        )
        self.failovers = Counter("fairlead_failovers", "Attempts beyond a request's first.")
        self.rescues = Counter(
            "fairlead_rescues", "Streams that broke after their first content.", ("result",)
        )
        self.tokens = Counter(
            "fairlead_tokens", "Tokens used; cached and reasoning are parts.", ("model", "kind")
        )
        self.cost = Counter(
            "fairlead_cost_usd", "Known cost, in dollars.", ("model",), NANO_PER_USD
        )
        self.unpriced = Counter(
            "fairlead_unpriced_attempts", "Attempts whose price is unknown.", ("model",)
        )
        self.baseline = Counter(
            "fairlead_baseline_usd",
            "What the baseline model would have cost, in dollars.",
            unit=NANO_PER_USD,
        )
        self.first_token = Histogram(
            "fairlead_first_token_seconds", "Arrival to first content.", SLOW_S, ("model",)
        )
        self.request = Histogram(
            "fairlead_request_seconds", "Arrival to the end of the answer.", SLOW_S, ("outcome",)
        )
        self.overhead = Histogram(
            "fairlead_overhead_seconds", "Arrival to the first attempt being sent.", FAST_S
        )
        self.commit = Histogram(
            "fairlead_ledger_commit_seconds", "One durable commit, of many rows.", FAST_S
        )
        self.commit_rows = Counter("fairlead_ledger_rows", "Rows of ledger and journal stored.")
        self.commit_failures = Counter(
            "fairlead_ledger_commit_failures", "Commits that were not stored in full."
        )
        self._registry.register(self)

    def __call__(self, fact: Fact) -> None:
        self._uncounted.append(fact)
        if len(self._uncounted) >= TOGETHER:
            self._count()

    def committed(self, seconds: float, rows: int, stored: bool) -> None:
        """For the store's ``on_commit``."""
        self.commit.observe((), seconds)
        if stored:
            self.commit_rows.add((), rows)
        else:
            self.commit_failures.add(())

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        self._count()
        for metric in vars(self).values():
            if isinstance(metric, Counter | Histogram):
                yield metric.family()
        yield from self._gauges()

    def _count(self) -> None:
        facts, self._uncounted = self._uncounted, []
        for fact in facts:
            if isinstance(fact, Exchanged):
                self._exchanged(fact)
            elif isinstance(fact, Refused):
                self.refused.add((fact.code,))

    def _exchanged(self, fact: Exchanged) -> None:
        self.requests.add((fact.dialect, fact.route, fact.task, fact.outcome, fact.code))
        for attempted in fact.attempts:
            self._attempted(attempted)
        if len(fact.attempts) > 1:
            self.failovers.add((), len(fact.attempts) - 1)
        if fact.stream and fact.attempts and fact.attempts[0].failure:
            self._broken(fact)
        if fact.baseline_nano_usd is not None:
            self.baseline.add((), fact.baseline_nano_usd)
        if fact.first_token_ms is not None and fact.attempts:
            self.first_token.observe((fact.attempts[-1].model,), fact.first_token_ms / 1000)
        self.request.observe((fact.outcome,), fact.total_ms / 1000)
        self.overhead.observe((), fact.overhead_ms / 1000)

    def _broken(self, fact: Exchanged) -> None:
        """What became of a stream that broke once content was sent, if one did."""
        broke = [
            number
            for number, one in enumerate(fact.attempts)
            if one.failure == Failure.STREAM_BROKEN and one.first_token_ms is not None
        ]
        if broke and fact.outcome == "ok":
            self.rescues.add(("whole",))
        elif broke and fact.outcome == "failed":
            self.rescues.add(("broken" if fact.attempts[broke[0] + 1 :] else "left",))

    def _attempted(self, attempted: Attempted) -> None:
        model, usage, cost = attempted.model, attempted.usage, attempted.cost_nano_usd
        self.attempts.add((attempted.endpoint, attempted.credential, attempted.failure))
        if cost is None:
            self.unpriced.add((model,))
        else:
            self.cost.add((model,), cost)
        if usage is not None:
            add = self.tokens.add
            add((model, "input"), usage.input_tokens)
            add((model, "output"), usage.output_tokens)
            if usage.cached_read_tokens:
                add((model, "cached_read"), usage.cached_read_tokens)
            if usage.cached_write_tokens:
                add((model, "cached_write"), usage.cached_write_tokens)
            if usage.reasoning_tokens:
                add((model, "reasoning"), usage.reasoning_tokens)

    def _gauges(self) -> Iterator[Metric]:
        live = self._live
        for name, text, read in (
            ("fairlead_in_flight", "Requests being answered.", live.in_flight),
            ("fairlead_answer_memory_bytes", "Answers that wait here.", live.answer_bytes),
            ("fairlead_body_memory_bytes", "Requests that are held here.", live.body_bytes),
            ("fairlead_open_holds", "Attempts not settled yet.", live.open_holds),
            ("fairlead_rows_waiting", "Rows not on disk yet.", live.rows_waiting),
            ("fairlead_records_lost", "Log lines and journal entries lost.", live.records_lost),
            ("fairlead_catalog_generation", "Counts reloads of the catalogue.", live.generation),
        ):
            yield GaugeMetricFamily(name, text, value=read())
        yield CounterMetricFamily(
            "fairlead_shed", "Requests turned away unread: too many at once.", value=live.shed()
        )
        labels = ("endpoint", "credential")
        breaker = GaugeMetricFamily(
            "fairlead_breaker_state", "0 closed, 1 half open, 2 open.", labels=labels
        )
        retired = GaugeMetricFamily(
            "fairlead_retired", "1 where the provider says the model is gone.", labels=labels
        )
        for key, vitals in live.vitals().items():
            breaker.add_metric(key, BREAKER_STATES[vitals.state])
            retired.add_metric(key, vitals.retired)
        yield breaker
        yield retired
