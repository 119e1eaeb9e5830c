"""The breaker against the same rules told naively: a list of everything that ever happened."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fairlead.state.breaker import Breaker

HOUR_S = 3600.0

AGO_S = st.sampled_from([0.0, 2.0, 40.0, HOUR_S])
PAUSE_S = st.sampled_from([0.0, 0.5, 3.0, 4.0, 20.0])
DICE = st.sampled_from([0.0, 0.25, 0.5, 1.0])


class Reference(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now_s = 2 * HOUR_S
        self.outcomes: list[tuple[float, bool]] = []
        self.opened_s: float | None = None
        self.until_s = self.probe_until_s = 0.0
        self.trips = 0
        self.spells: list[tuple[float, int]] = []
        """When it opened after having been closed, and how many relapses that made."""
        self.closed_s: float | None = None
        self.latest_s = 0.0

    def expected(self) -> str:
        if self.opened_s is None:
            return "closed"
        return "open" if self.now_s < max(self.until_s, self.probe_until_s) else "half_open"

    def relapses(self) -> int:
        return self.spells[-1][1] if self.spells else 0

    def trip(self, dice: float) -> None:
        count = self.relapses()
        if self.opened_s is not None:
            if self.trips >= 2:
                self.spells[-1] = (self.spells[-1][0], max(count - 1, 0))
        else:
            since_s = self.now_s - self.spells[-1][0] if self.spells else float("inf")
            if since_s < 40:
                count = min(count + 1, 4)
            elif self.spells:
                count = max(count - int(since_s // 40), 0)
            self.spells.append((self.now_s, count))
        self.opened_s, self.probe_until_s = self.now_s, 0.0
        middle_s = (5.0, 10.0)[min(self.trips, 1)]
        middle_s = max(middle_s, (0.0, 0.0, 0.0, 10.0, 20.0)[self.relapses()])
        self.until_s = self.now_s + middle_s * (0.8 + 0.4 * dice)
        self.trips += 1

    def heard(self, good: bool) -> None:
        self.look()
        self.outcomes.append((self.latest_s, good))

    def look(self) -> list[bool]:
        """The outcomes of the last 30 s. A clock that steps back makes none older than before."""
        self.latest_s = max(self.latest_s, self.now_s)
        return [good for at_s, good in self.outcomes if at_s // 3 >= self.latest_s // 3 - 9]

    @rule(quarters=st.integers(1, 200))
    def wait(self, quarters: int) -> None:
        self.now_s += quarters / 4

    @rule()
    def wait_for_the_next_change(self) -> None:
        self.now_s = max(self.now_s, self.until_s, self.probe_until_s)

    @rule(step_s=st.sampled_from([-HOUR_S, HOUR_S]))
    def the_clock_jumps(self, step_s: float) -> None:
        self.now_s = max(HOUR_S, self.now_s + step_s)

    @rule()
    def begin(self) -> None:
        before = self.expected()
        if before == "half_open":
            self.probe_until_s = self.now_s + 10

        assert self.breaker.begin(self.now_s) == (before != "open")

    @rule(ago_s=AGO_S)
    def good(self, ago_s: float) -> None:
        if self.opened_s is None:
            self.heard(True)
        elif self.now_s - ago_s >= self.opened_s:
            self.opened_s, self.trips, self.outcomes, self.latest_s = None, 0, [], 0.0
            self.closed_s = self.now_s
        self.breaker.good(self.now_s - ago_s, self.now_s)

    @rule(pattern=st.sampled_from(["-----", "++-", "+-+-+-", "-+++++", "--"]), pause_s=PAUSE_S)
    def several(self, pattern: str, pause_s: float) -> None:
        for outcome in pattern:
            if outcome == "+":
                self.good(0.0)
            else:
                self.bad(0.0, 0.5)
            self.now_s += pause_s

    @rule(ago_s=AGO_S, dice=DICE)
    def bad(self, ago_s: float, dice: float) -> None:
        if self.opened_s is None:
            self.heard(False)
            recent = self.look()
            ramps = self.closed_s is not None and self.now_s < self.closed_s + 5
            enough = 2 if ramps and self.relapses() else 5
            row = [good for _, good in self.outcomes[-enough:]]
            poor = len(recent) >= 10 and sum(recent) < 0.8 * len(recent)
            if poor or (len(row) == enough and not any(row)):
                self.trip(dice)
        elif self.now_s - ago_s >= self.opened_s and self.now_s >= self.until_s:
            self.trip(dice)
        self.breaker.bad(self.now_s - ago_s, self.now_s, dice)

    @rule(ago_s=AGO_S)
    def void(self, ago_s: float) -> None:
        if self.opened_s is not None and self.now_s - ago_s >= self.opened_s:
            self.probe_until_s = 0.0
        self.breaker.void(self.now_s - ago_s)

    @invariant()
    def agrees(self) -> None:
        assert self.breaker.state(self.now_s) == self.expected()
        change_s = self.breaker.changes_s(self.now_s)
        assert (change_s < float("inf")) == (self.expected() == "open")
        if self.expected() == "closed":
            assert self.breaker.asked(self.now_s) == len(self.look())
        assert self.breaker.is_closed == (self.expected() == "closed")


TestReference = Reference.TestCase
