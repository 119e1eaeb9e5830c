"""Answers that are kept for who asks again: whose, what for, and for how long."""

import pytest

from facts import NOON_MS
from fairlead.outside.store import Store
from fairlead.state import idempotency
from fairlead.state.idempotency import KEEP_MS, Asked, Idempotency, Kept, asked
from fairlead.types.errors import BadRequest, KeyInUse, KeyReused, Overloaded

BODY = b'{"model": "a"}'
ONCE = asked("k1", "order-7", BODY)
OTHER_BODY = asked("k1", "order-7", b'{"model": "b"}')


def kept(body: bytes = b"Yes.", at_ms: int = NOON_MS, name: str = "r1") -> Kept:
    return Kept(name, at_ms, False, {"x-fairlead-model": "small"}, body)


@pytest.fixture
def memory(store: Store) -> Idempotency:
    return Idempotency(store)


def test_a_request_is_known_by_who_asks_under_which_key_for_what() -> None:
    assert asked("k1", "order-7", BODY) == ONCE
    assert OTHER_BODY.name == ONCE.name
    assert OTHER_BODY.body_hash != ONCE.body_hash
    for other in (asked("k2", "order-7", BODY), asked("k1", "order-8", BODY)):
        assert other.name != ONCE.name
    assert asked("k1", "x", b"ab", b"c") != asked("k1", "x", b"a", b"bc")
    assert asked("k1", "x", b"").name != asked("k", "1x", b"").name


@pytest.mark.parametrize("key", ["", "x" * 256, "zwölf", "a\tb"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        asked("k1", key, BODY)

    assert refusal.value.param == "idempotency-key"


@pytest.mark.parametrize(
    ("after_s", "retry_after_s"),
    [
        pytest.param(0, 1, id="at least a second"),
        pytest.param(8, 8, id="as long again as it has taken"),
        pytest.param(500, 30, id="at most half a minute"),
    ],
)
def test_while_it_is_answered_nobody_else_is(
    memory: Idempotency, after_s: int, retry_after_s: int
) -> None:
    memory.begin(ONCE, NOON_MS)
    with pytest.raises(KeyInUse) as refusal:
        memory.begin(ONCE, NOON_MS + after_s * 1000)

    assert refusal.value.retry_after_s == retry_after_s
    assert refusal.value.retryable
    memory.begin(asked("k1", "order-8", BODY), NOON_MS)


def test_a_key_that_asks_for_something_else_meanwhile(memory: Idempotency) -> None:
    memory.begin(ONCE, NOON_MS)
    with pytest.raises(KeyReused) as refusal:
        memory.check(OTHER_BODY, NOON_MS)

    assert not refusal.value.retryable


class Elsewhere:
    """Another process, which has some names."""

    def __init__(self, *names: bytes) -> None:
        self.names = set(names)

    def take(self, name: bytes) -> bool:
        return name not in self.names

    def give_back(self, name: bytes) -> None: ...


def test_what_another_process_answers_is_left_to_it(store: Store) -> None:
    elsewhere = Elsewhere(ONCE.name)
    memory = Idempotency(store, elsewhere)
    with pytest.raises(KeyInUse) as refusal:
        memory.begin(ONCE, NOON_MS)
    memory.end(ONCE)
    elsewhere.names.clear()
    memory.begin(ONCE, NOON_MS)

    assert refusal.value.retry_after_s == 1


def test_what_failed_may_be_asked_again(memory: Idempotency) -> None:
    memory.begin(ONCE, NOON_MS)
    memory.end(ONCE)

    assert memory.find(ONCE, NOON_MS) is None
    memory.begin(ONCE, NOON_MS)


async def test_an_answer_is_found_again_as_it_was(memory: Idempotency, store: Store) -> None:
    answer = Kept("r1", NOON_MS, True, {"x-fairlead-model": "small"}, b"\x00data: \xff\n\n")
    await memory.keep(ONCE, answer)

    for later in (memory, Idempotency(store)):
        assert later.find(ONCE, NOON_MS + 1000) == answer
        assert later.find(asked("k2", "order-7", BODY), NOON_MS) is None
        with pytest.raises(KeyReused):
            later.find(OTHER_BODY, NOON_MS)


async def test_after_a_day_the_key_is_free_again(memory: Idempotency, store: Store) -> None:
    await memory.keep(ONCE, kept())

    assert memory.find(ONCE, NOON_MS + KEEP_MS) is not None
    assert memory.find(OTHER_BODY, NOON_MS + KEEP_MS + 1) is None
    await memory.keep(OTHER_BODY, kept(b"No.", NOON_MS + KEEP_MS + 1, "r2"))
    found = memory.find(OTHER_BODY, NOON_MS + KEEP_MS + 1)
    assert found is not None
    assert (found.request_id, found.body) == ("r2", b"No.")


def names(store: Store) -> set[bytes]:
    return {bytes(row[0]) for row in store.read("SELECT name FROM kept_answer")}


async def fill(memory: Idempotency, count: int, size: int) -> list[Asked]:
    """Answers, one a second, the oldest first."""
    made = [asked("k1", f"order-{number}", BODY) for number in range(count)]
    for number, each in enumerate(made):
        await memory.keep(each, kept(b"x" * size, NOON_MS + number * 1000))
    return made


async def test_what_is_older_than_a_day_is_removed(memory: Idempotency, store: Store) -> None:
    old, new = await fill(memory, 2, 10)

    assert memory.forget(NOON_MS + KEEP_MS) == 0
    assert memory.forget(NOON_MS + KEEP_MS + 1) == 1
    assert names(store) == {new.name}
    assert old.name != new.name


@pytest.mark.parametrize(
    ("limit", "most", "left"),
    [
        pytest.param("MOST_ANSWERS", 3, 3, id="answers"),
        pytest.param("MOST_BYTES_KEPT", 250, 2, id="bytes"),
        pytest.param("MOST_BYTES_KEPT", 500, 5, id="all fit"),
    ],
)
async def test_the_oldest_go_first(
    memory: Idempotency,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    most: int,
    left: int,
) -> None:
    monkeypatch.setattr(idempotency, limit, most)
    made = await fill(memory, 5, 100)

    assert memory.forget(NOON_MS + 10_000) == 5 - left
    assert names(store) == {each.name for each in made[-left:]}


async def test_what_is_removed_is_in_no_file(memory: Idempotency, store: Store) -> None:
    await memory.keep(ONCE, kept(b"canary-answer" * 1000))
    memory.forget(NOON_MS + KEEP_MS + 1)
    store.write("PRAGMA wal_checkpoint(TRUNCATE)")

    for path in store.path.parent.iterdir():
        assert b"canary-answer" not in path.read_bytes(), path


async def test_a_closed_store_keeps_nothing(memory: Idempotency, store: Store) -> None:
    await store.close()
    with pytest.raises(Overloaded):
        await memory.keep(ONCE, kept())
