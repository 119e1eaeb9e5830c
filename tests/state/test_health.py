"""Health: what an attempt's outcome does to its endpoint, and when that passes."""

import pytest

from facts import attempted, endpoint
from fairlead.state.health import Health
from fairlead.types.catalog import Catalog
from fairlead.types.chat import Usage
from fairlead.types.decision import Vitals
from fairlead.types.errors import Failure

KEY = ("acme/small", "env:A")
OTHER_CREDENTIAL = ("acme/small", "env:B")
OTHER_ENDPOINT = ("acme/large", "env:A")
START_S = 1000.0

CATALOG = Catalog(
    endpoints=(endpoint("acme/small", ("env:A", "env:B")), endpoint("acme/large"), endpoint("o/o"))
)


def health(dice: float = 0.5) -> Health:
    return Health(CATALOG, lambda: dice)


def after(failure: str, times: int = 1, now_s: float = START_S, **changes: object) -> Health:
    told = health()
    for _ in range(times):
        told.observe(attempted(failure=failure, total_ms=1.0, **changes), now_s)
    return told


def vitals(of: Health, now_s: float = START_S, key: tuple[str, str] = KEY) -> Vitals:
    return of.vitals(now_s).get(key, Vitals())


@pytest.mark.parametrize(
    ("failure", "state", "gate_s", "retired"),
    [
        pytest.param("", "closed", 0, False, id="an answer"),
        pytest.param("cancelled", "closed", 0, False, id="cancelled"),
        pytest.param(Failure.RATE_LIMIT, "closed", 15, False, id="rate limit: a gate in time"),
        pytest.param(Failure.QUOTA, "closed", 60, False, id="quota: a long gate"),
        pytest.param(Failure.CREDENTIAL, "closed", 300, False, id="credential: a longer one"),
        pytest.param(Failure.OVERLOADED, "open", 0, False, id="overloaded: the breaker"),
        pytest.param(Failure.TRANSIENT, "open", 0, False, id="transient: the breaker"),
        pytest.param(Failure.CONNECT, "open", 0, False, id="connect: the breaker"),
        pytest.param(Failure.SILENT, "open", 0, False, id="silent: the breaker"),
        pytest.param(Failure.BAD_SUCCESS, "open", 0, False, id="bad success: the breaker"),
        pytest.param(Failure.STREAM_BROKEN, "open", 0, False, id="stream broken: the breaker"),
        pytest.param(Failure.MODEL_GONE, "closed", 0, True, id="model gone: retired"),
        pytest.param(Failure.CONTEXT_LENGTH, "closed", 0, False, id="context: not its fault"),
        pytest.param(Failure.CONTENT_FILTER, "closed", 0, False, id="content: not its fault"),
        pytest.param(Failure.CALLER_FAULT, "closed", 0, False, id="the caller's fault"),
    ],
)
def test_what_five_of_a_kind_lead_to(
    failure: str, state: str, gate_s: float, retired: bool
) -> None:
    seen = vitals(after(failure, 5, status=404 if failure == Failure.MODEL_GONE else 200))

    assert (seen.state, seen.retired) == (state, retired)
    assert seen.gate_until_s == (START_S + gate_s if gate_s else 0)


def test_other_credentials_and_endpoints_are_not_to_blame() -> None:
    told = after(Failure.OVERLOADED, 5)

    assert vitals(told, key=OTHER_CREDENTIAL).state == "closed"
    assert vitals(told, key=OTHER_ENDPOINT).state == "closed"
    assert told.begin(OTHER_CREDENTIAL, START_S)
    assert not told.begin(KEY, START_S)


# Gates.


@pytest.mark.parametrize(
    ("failure", "asked_s", "gate_s"),
    [
        pytest.param(Failure.RATE_LIMIT, 2.5, 2.5, id="as it asked"),
        pytest.param(Failure.RATE_LIMIT, 0.0, 0.0, id="not at all"),
        pytest.param(Failure.RATE_LIMIT, None, 1.0, id="it did not say"),
        pytest.param(Failure.RATE_LIMIT, 86_400.0, 300.0, id="a rate limit of a day is not one"),
        pytest.param(Failure.QUOTA, 1.0, 60.0, id="an account does not fill in a second"),
        pytest.param(Failure.QUOTA, 1800.0, 1800.0, id="an account that fills in half an hour"),
        pytest.param(Failure.CREDENTIAL, None, 300.0, id="a bad key"),
    ],
)
def test_how_long_a_gate_lasts(failure: Failure, asked_s: float | None, gate_s: float) -> None:
    assert vitals(after(failure, retry_after_s=asked_s)).gate_until_s == START_S + gate_s


def test_gates_that_nobody_asked_for_double_until_an_answer() -> None:
    told, seen = health(), []
    for failure in ["rate_limit"] * 6 + ["", "rate_limit"]:
        told.observe(attempted(failure=failure), START_S)
        seen.append(vitals(told).gate_until_s - START_S)

    assert seen == [1, 2, 4, 8, 15, 15, 15, 15]
    later_s = START_S + 100
    told.observe(attempted(failure=""), later_s)
    told.observe(attempted(failure="rate_limit"), later_s)
    assert vitals(told, later_s).gate_until_s == later_s + 1


def test_a_shorter_gate_does_not_shorten_a_longer_one() -> None:
    told = after(Failure.RATE_LIMIT, retry_after_s=30.0)
    told.observe(attempted(failure="rate_limit", retry_after_s=1.0), START_S + 1)
    told.observe(attempted(failure=""), START_S + 1)

    assert vitals(told, START_S + 1).gate_until_s == START_S + 30


@pytest.mark.parametrize(
    ("dry_s", "asked_s", "gate_s"),
    [
        pytest.param(20.0, None, 20, id="used up"),
        pytest.param(5000.0, None, 300, id="not for ever"),
        pytest.param(20.0, 5.0, 20, id="and it asked for less"),
        pytest.param(5.0, 20.0, 20, id="and it asked for more"),
    ],
)
def test_a_limit_that_is_used_up_is_a_gate_too(
    dry_s: float, asked_s: float | None, gate_s: float
) -> None:
    told = health()
    told.dry(KEY, dry_s, START_S)
    if asked_s is not None:
        told.observe(attempted(failure="rate_limit", retry_after_s=asked_s), START_S)

    assert vitals(told).gate_until_s == START_S + gate_s
    assert vitals(told).asked_until_s == (START_S + asked_s if asked_s else 0)
    assert vitals(told, key=OTHER_CREDENTIAL) == Vitals()


def test_word_of_an_endpoint_that_left_is_dropped() -> None:
    told = health()
    told.dry(("gone/gone", ""), 20.0, START_S)

    assert told.vitals(START_S) == {}


# Retirement.


@pytest.mark.parametrize(
    ("status", "message", "retired_s"),
    [
        pytest.param(410, "", 86_400, id="410 Gone"),
        pytest.param(404, "The model X is no longer available.", 86_400, id="404 with words"),
        pytest.param(400, "ValidationException", 86_400, id="400 that a dialect knows"),
        pytest.param(404, "not found", 60, id="a bare 404"),
    ],
)
def test_how_long_an_endpoint_is_retired(status: int, message: str, retired_s: float) -> None:
    told = after(Failure.MODEL_GONE, status=status, message=message)

    for pause_s, retired in ((0, True), (retired_s - 0.1, True), (retired_s, False)):
        assert vitals(told, START_S + pause_s).retired == retired
        assert vitals(told, START_S + pause_s, OTHER_CREDENTIAL).retired == retired
        assert not vitals(told, START_S + pause_s, OTHER_ENDPOINT).retired


def test_bare_404s_in_a_row_bench_for_longer_until_it_answers() -> None:
    told, now_s, lasted = health(), START_S, []
    for failure in ["model_gone"] * 3 + ["", "model_gone"]:
        told.observe(attempted(failure=failure, status=404, total_ms=1.0), now_s)
        since_s = now_s
        while vitals(told, now_s).retired:
            now_s += 1
        lasted.append(now_s - since_s)
        now_s += 1

    assert lasted == [60, 120, 240, 0, 60]


@pytest.mark.parametrize(
    ("sent_s", "retired"),
    [
        pytest.param(4.0, True, id="before any that were told"),
        pytest.param(5.0, True, id="with the first"),
        pytest.param(7.0, True, id="between them: the last one knows more"),
        pytest.param(8.5, False, id="after them, though they were not yet told"),
        pytest.param(11.0, False, id="when they had been told"),
    ],
)
def test_only_an_answer_to_who_asked_later_brings_it_back(sent_s: float, retired: bool) -> None:
    told = health()
    for began_s, ended_s in ((5.0, 6.0), (8.0, 10.0)):
        total_ms = (ended_s - began_s) * 1000
        gone = attempted(failure=Failure.MODEL_GONE, status=410, total_ms=total_ms)
        told.observe(gone, START_S + ended_s)
    told.observe(attempted(total_ms=(12.0 - sent_s) * 1000), START_S + 12.0)

    assert vitals(told, START_S + 12.0).retired == retired


def test_a_corrected_endpoint_starts_afresh_and_others_keep_their_record() -> None:
    told = after(Failure.MODEL_GONE, status=410)
    for _ in range(5):
        told.observe(attempted(endpoint="acme/large", failure="silent"), START_S)
    corrected = endpoint("acme/small", ("env:B",))
    told.swap(Catalog(endpoints=(corrected, endpoint("acme/large"))))

    assert vitals(told, key=OTHER_CREDENTIAL) == Vitals()
    assert vitals(told, key=OTHER_ENDPOINT).state == "open"


def test_an_endpoint_that_left_the_catalogue_is_forgotten() -> None:
    told = after(Failure.SILENT)
    told.swap(Catalog())
    told.observe(attempted(), START_S)

    assert told.vitals(START_S) == {}


# Probes.


def half_open() -> tuple[Health, float]:
    told = after(Failure.OVERLOADED, 5)
    return told, START_S + 5


def test_half_open_is_seen_when_its_time_comes() -> None:
    told, then_s = half_open()

    assert vitals(told, then_s - 0.1).state == "open"
    assert vitals(told, then_s).state == "half_open"


def test_while_a_probe_is_out_it_is_open_for_the_others() -> None:
    told, now_s = half_open()

    assert told.begin(KEY, now_s)
    assert vitals(told, now_s).state == "open"
    assert not told.begin(KEY, now_s)


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        pytest.param("", "closed", id="it answers"),
        pytest.param("silent", "open", id="it does not"),
        pytest.param("cancelled", "half_open", id="the caller left"),
        pytest.param("rate_limit", "half_open", id="it is well, and busy"),
        pytest.param("caller_fault", "half_open", id="the request was wrong"),
    ],
)
def test_how_a_probe_ends(failure: str, state: str) -> None:
    told, now_s = half_open()
    told.begin(KEY, now_s)
    told.observe(attempted(failure=failure, total_ms=1000.0), now_s + 1)

    assert vitals(told, now_s + 1).state == state


def test_an_attempt_that_was_kept_back_does_not_end_the_probe() -> None:
    told, now_s = half_open()
    told.begin(KEY, now_s)
    told.observe(attempted(id="", failure="overloaded", total_ms=0.0), now_s)

    assert vitals(told, now_s).state == "open"
    told.observe(attempted(total_ms=1000.0), now_s + 1)
    assert vitals(told, now_s + 1).state == "closed"


@pytest.mark.parametrize("failure", ["cancelled", "rate_limit", "caller_fault"])
def test_an_attempt_that_was_made_all_the_same_does_not_end_the_probe(failure: str) -> None:
    told, now_s = half_open()
    told.begin(KEY, now_s)
    told.observe(attempted(failure=failure, total_ms=0.0, kept_out=True), now_s)

    assert vitals(told, now_s).state == "open"
    assert not told.begin(KEY, now_s)


def test_what_was_never_sent_is_nobodys_failure() -> None:
    told = after(Failure.OVERLOADED, 5, id="")

    assert vitals(told) == Vitals()


def test_an_endpoint_that_was_never_asked_may_be() -> None:
    assert health().begin(KEY, START_S)


# Silence.


@pytest.mark.parametrize("first_token_ms", [50.0, None], ids=["a stream", "in one piece"])
def test_how_long_answers_take_is_learned_from_all(first_token_ms: float | None) -> None:
    told = health()
    told.observe(attempted(first_token_ms=first_token_ms, total_ms=60.0), START_S)
    for number in range(20):
        told.begin(KEY, START_S + number)

    assert told.is_silent(KEY)


def gone_silent(**changes: object) -> tuple[Health, float]:
    """After an answer and 20 attempts a second of which nothing is heard but ``changes``."""
    told, now_s = health(), START_S
    told.observe(attempted(first_token_ms=50.0, total_ms=60.0), now_s)
    while vitals(told, now_s).state == "closed" and now_s < START_S + 5:
        now_s += 0.05
        assert told.begin(KEY, now_s)
        if changes:
            told.observe(attempted(total_ms=5000.0, **changes), now_s)
    return told, now_s


def test_a_silent_endpoint_is_left_before_time_is_up() -> None:
    told, now_s = gone_silent()

    assert now_s == pytest.approx(START_S + 0.6)
    assert vitals(told, now_s).state == "open"
    assert not told.begin(KEY, now_s)
    assert told.is_silent(KEY)


@pytest.mark.parametrize("sign", ["a stream begins", "an answer", "a refusal"])
def test_silent_it_is_until_it_is_heard_of(sign: str) -> None:
    told, now_s = gone_silent()
    assert not told.is_silent(OTHER_CREDENTIAL)
    told.observe(attempted(failure="silent", status=None, total_ms=5000.0), now_s)
    assert told.is_silent(KEY)
    if sign == "a stream begins":
        told.heard(KEY)
    elif sign == "an answer":
        told.observe(attempted(total_ms=5000.0), now_s)
    else:
        told.observe(attempted(failure="rate_limit", status=429), now_s)

    assert not told.is_silent(KEY)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="an answer"),
        pytest.param({"failure": "rate_limit", "status": 429}, id="a refusal"),
        pytest.param({"failure": "caller_fault", "status": 400}, id="a mistake of the caller's"),
    ],
)
def test_who_says_anything_is_not_silent(changes: dict[str, object]) -> None:
    told, _ = gone_silent(usage=None, **changes)

    assert vitals(told, START_S + 5).state == "closed"


@pytest.mark.parametrize("ends", ["refused", "never"])
def test_who_was_never_asked_is_not_silent(ends: str) -> None:
    """What waits for our own disk, or what that refuses, is not sent."""
    told, now_s = health(), START_S
    told.observe(attempted(first_token_ms=50.0, total_ms=60.0), now_s)
    for _ in range(100):
        now_s += 0.05
        assert told.begin(KEY, now_s)
        if ends == "refused":
            told.observe(attempted(id="", failure="cancelled", status=None), now_s)
        else:
            told.not_asked_yet(KEY)

    assert vitals(told, now_s).state == "closed"


def test_who_is_asked_late_is_silent_from_then_on() -> None:
    told, now_s = health(), START_S
    told.observe(attempted(first_token_ms=50.0, total_ms=60.0), now_s)
    for _ in range(20):
        assert told.begin(KEY, now_s)
        told.not_asked_yet(KEY)
    for _ in range(12):
        now_s += 0.05
        assert vitals(told, now_s).state == "closed"
        told.asked(KEY, now_s)

    assert vitals(told, now_s).state == "open"


def test_a_stream_that_has_begun_is_not_silence() -> None:
    told, now_s = health(), START_S
    told.observe(attempted(first_token_ms=50.0, total_ms=60.0), now_s)
    for _ in range(100):
        now_s += 0.05
        assert told.begin(KEY, now_s)
        told.heard(KEY)

    assert vitals(told, now_s).state == "closed"


def test_those_who_still_wait_do_not_count_when_their_time_is_up() -> None:
    told, now_s = gone_silent()
    told.observe(attempted(failure="silent", status=None, total_ms=6000.0), now_s + 6)

    assert vitals(told, now_s + 6).state == "half_open"
    assert told.begin(KEY, now_s + 6)
    told.observe(attempted(total_ms=100.0), now_s + 6.2)
    assert vitals(told, now_s + 6.2).state == "closed"


# Retries.


@pytest.mark.parametrize(
    ("outcomes", "ailing"),
    [
        pytest.param([], False, id="never asked"),
        pytest.param([""], False, id="an answer"),
        pytest.param(["transient"], False, id="a slip"),
        pytest.param(["transient", "silent"] * 2, False, id="four in a row: its breaker decides"),
        pytest.param(["rate_limit"] * 4, False, id="busy is not ill"),
        pytest.param(["silent"] * 5, True, id="its breaker is open"),
    ],
)
def test_who_counts_as_ailing(outcomes: list[str], ailing: bool) -> None:
    told = health()
    for failure in outcomes:
        told.observe(attempted(failure=failure, total_ms=1.0), START_S)

    assert told.allowance([KEY, OTHER_ENDPOINT], START_S).ailing == ({KEY} if ailing else set())


@pytest.mark.parametrize(
    ("failure", "for_s"),
    [
        (Failure.RATE_LIMIT, 7.0),
        (Failure.QUOTA, 60.0),
        (Failure.CREDENTIAL, 300.0),
        (Failure.MODEL_GONE, 60.0),
        (Failure.TRANSIENT, 0.0),
        ("", 0.0),
    ],
)
def test_whose_provider_says_no_and_for_how_long(failure: str, for_s: float) -> None:
    asked_s = 7.0 if failure == Failure.RATE_LIMIT else None
    told = after(failure, status=404, retry_after_s=asked_s)

    def refuses(now_s: float) -> bool:
        return told.allowance([KEY, OTHER_ENDPOINT], now_s).refusing == {KEY}

    assert refuses(START_S) == refuses(START_S + for_s - 0.1) == (for_s > 0)
    assert not refuses(START_S + for_s)


def test_a_forecast_is_no_refusal_and_one_who_is_gone_is_so_with_every_credential() -> None:
    told = after(Failure.MODEL_GONE, status=410)
    told.dry(OTHER_ENDPOINT, 60.0, START_S)
    everyone = [KEY, OTHER_CREDENTIAL, OTHER_ENDPOINT]

    assert told.allowance(everyone, START_S).refusing == {KEY, OTHER_CREDENTIAL}


def test_who_is_to_be_tried_is_not_ailing_and_is_while_a_probe_is_out() -> None:
    told, now_s = half_open()

    assert told.allowance([KEY], now_s - 0.1).ailing == {KEY}
    assert told.allowance([KEY], now_s).ailing == set()
    told.begin(KEY, now_s)
    assert told.allowance([KEY], now_s).ailing == {KEY}


def test_retries_are_a_share_of_what_was_asked() -> None:
    told, made = health(), 0
    for _ in range(50):
        told.observe(attempted(), START_S)
    while KEY not in told.allowance([KEY], START_S).spent:
        told.retrying(KEY, START_S)
        told.observe(attempted(), START_S)
        made += 1

    assert made == 8
    assert told.allowance([OTHER_CREDENTIAL], START_S).spent == set()
    assert told.allowance([KEY], START_S + 30).spent == set()


def test_what_is_out_of_date_is_not_counted_as_asked() -> None:
    told = health()
    for _ in range(50):
        told.observe(attempted(), START_S)
    for _ in range(3):
        told.retrying(KEY, START_S + 29)

    assert told.allowance([KEY], START_S + 26).spent == set()
    assert told.allowance([KEY], START_S + 33).spent == {KEY}


def test_whom_a_breaker_keeps_out() -> None:
    told, now_s = half_open()

    assert [told.keeps_out(KEY, now_s - 0.1), told.keeps_out(KEY, now_s)] == [True, False]
    assert not told.keeps_out(OTHER_ENDPOINT, now_s)


# Speed and success.


@pytest.mark.parametrize(
    ("changes", "first_token_ms", "tokens_per_s"),
    [
        pytest.param({}, 100, 50, id="a stream"),
        pytest.param({"first_token_ms": None}, None, None, id="nothing came"),
        pytest.param({"first_token_ms": 1100.0}, None, 50 / 1.1, id="in one piece"),
        pytest.param({"usage": None}, 100, None, id="no usage"),
        pytest.param({"usage": Usage(10, 7)}, 100, None, id="too few tokens to tell"),
        pytest.param({"failure": "stream_broken"}, None, None, id="it broke off"),
    ],
)
def test_speed_is_read_off_good_answers(
    changes: dict[str, object], first_token_ms: float | None, tokens_per_s: float | None
) -> None:
    told = health()
    told.observe(attempted(**changes), START_S)

    assert vitals(told).first_token_ms == first_token_ms
    assert vitals(told).tokens_per_s == pytest.approx(tokens_per_s)


def test_speed_is_a_moving_average() -> None:
    told = health()
    told.observe(attempted(), START_S)
    told.observe(attempted(first_token_ms=200.0, total_ms=2200.0), START_S)

    assert vitals(told).first_token_ms == pytest.approx(120)
    assert vitals(told).tokens_per_s == pytest.approx(45)


def test_success_falls_with_failures_and_is_forgiven_with_time() -> None:
    told = after(Failure.TRANSIENT)

    assert vitals(told).success == pytest.approx(0.9)
    assert vitals(told, START_S + 60).success == pytest.approx(0.95)
    assert vitals(told, START_S + 600).success == 1.0
    assert vitals(after(Failure.RATE_LIMIT)).success == 1.0


def test_on_trial_success_is_not_held_against_it_and_once_closed_it_is_forgotten() -> None:
    told, now_s = half_open()

    assert vitals(told, now_s - 0.1).success < 0.7
    assert vitals(told, now_s).success == 1.0
    told.begin(KEY, now_s)
    told.observe(attempted(total_ms=0.0), now_s)
    assert vitals(told, now_s).success == 1.0


# After an outage.


def test_just_back_it_may_have_a_growing_share() -> None:
    told, now_s = half_open()
    told.begin(KEY, now_s)
    assert told.shares(now_s) == {}
    told.observe(attempted(total_ms=0.0), now_s)

    assert told.shares(now_s) == {KEY: 0.1}
    assert told.shares(now_s + 2.5) == {KEY: 0.5}
    assert told.shares(now_s + 5) == {}
    assert told.shares(now_s + 2.5) == {}


def test_one_that_is_forgotten_has_no_share() -> None:
    told, now_s = half_open()
    told.begin(KEY, now_s)
    told.observe(attempted(total_ms=0.0), now_s)
    told.swap(Catalog())

    assert told.shares(now_s) == {}


# The mapping.


def test_the_mapping_is_the_same_until_something_changes_and_is_never_changed() -> None:
    told = health()
    told.observe(attempted(), START_S)
    before = told.vitals(START_S)
    copy = dict(before)

    assert told.vitals(START_S + 1) is before
    told.observe(attempted(failure="rate_limit"), START_S + 1)
    assert told.vitals(START_S + 1) is not before
    assert before == copy
