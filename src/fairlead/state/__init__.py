"""What changes while we run. Only this room mutates: it observes facts and offers a frozen View.

``State`` holds one of each: registry, keys, limits, health, ledger, idempotency, learned, and
memory for answers and for the bodies of requests.
They know nothing of one another.
"""

from collections.abc import Callable

from fairlead.decide.classify import CHARS_PER_TOKEN
from fairlead.state.health import Health
from fairlead.state.idempotency import ALONE, Claims, Idempotency
from fairlead.state.keys import Keys
from fairlead.state.learned import Learned
from fairlead.state.ledger import Ledger, Writer
from fairlead.state.limits import RateLimits
from fairlead.state.memory import for_answers, for_bodies
from fairlead.state.registry import Registry
from fairlead.types.catalog import Catalog
from fairlead.types.decision import Caller, View
from fairlead.types.facts import Attempted, Exchanged, Fact


class State:
    def __init__(
        self,
        catalog: Catalog,
        writer: Writer,
        keys: Keys,
        dice: Callable[[], float],
        claims: Claims = ALONE,
    ) -> None:
        """``dice`` gives a number in [0, 1) at each call."""
        self.registry = Registry(catalog)
        self.keys = keys
        self.limits = RateLimits()
        self.health = Health(catalog, dice)
        self.ledger = Ledger(writer)
        self.idempotency = Idempotency(writer, claims)
        self.learned = Learned()
        self.answer_memory, self.body_memory = for_answers(), for_bodies()
        self._dice = dice

    def swap(self, catalog: Catalog) -> None:
        """Put another catalogue in force, whole."""
        self.registry.swap(catalog)
        self.health.swap(catalog)

    def view(self, caller: Caller, now_s: float, now_ms: int) -> View:
        """All that a decision for this caller may look at: monotonic seconds, Unix milliseconds.

        Await nothing between this and ``ledger.hold``: what is affordable would be out of date.
        """
        return View(
            now_s=now_s,
            today=self.ledger.today(now_ms),
            dice=self._dice(),
            catalog=self.registry.catalog,
            vitals=self.health.vitals(now_s),
            chars_per_token=self.learned.chars_per_token(),
            affordable_nano_usd=self.ledger.affordable_nano_usd(caller, now_ms),
            shares=self.health.shares(now_s),
            loads=self.health.loads(now_s),
            at_ms=now_ms,
        )

    def observe(self, fact: Fact, now_s: float) -> None:
        """Health learns from each attempt as it ends, the estimate of tokens from each answer.
        Money is settled by its hold, not here."""
        if isinstance(fact, Attempted):
            self.health.observe(fact, now_s)
        elif isinstance(fact, Exchanged) and fact.attempts:
            self._learn(fact.attempts[-1], fact.estimated_input_tokens)

    def _learn(self, last: Attempted, estimated_tokens: int | None) -> None:
        if estimated_tokens is None or last.usage is None or last.basis != "provider_usage":
            return
        characters = int(estimated_tokens * CHARS_PER_TOKEN)
        self.learned.observe(last.model, characters, last.usage.input_tokens)
