"""Keys: who is recognised, what is kept, and what an attacker learns."""

from pathlib import Path

import pytest

from fairlead.outside.store import Store
from fairlead.state import keys
from fairlead.state.keys import Keys
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import BadRequest, NotFound, Unauthenticated

PEPPER = b"p" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "fairlead.db")


def loaded(store: Store, pepper: bytes = PEPPER) -> Keys:
    return Keys(pepper, keys.list_keys(store))


def test_without_any_key_everybody_is_local() -> None:
    nobody = Keys(PEPPER)

    assert nobody.identify(None) == Caller("local", "local")
    assert nobody.identify("anything") == Caller("local", "local")


def test_a_key_is_recognised_with_all_it_may(store: Store) -> None:
    limits = Limits(10, 1000, 5 * 10**9, None)
    key, row = keys.create(
        store, PEPPER, "team", ("auto",), ("small*", "a/b"), ("local",), limits, now_ms=7
    )

    assert loaded(store).identify(key) == Caller(
        row.caller.id, "team", ("auto",), ("small*", "a/b"), ("local",), limits
    )
    assert keys.list_keys(store) == [row]
    assert (row.created_ms, row.revoked_ms) == (7, None)


def test_a_key_is_nowhere_in_the_database(store: Store) -> None:
    key, _ = keys.create(store, PEPPER, "team", now_ms=0)
    content = b"".join(file.read_bytes() for file in store.path.parent.iterdir())

    assert key.encode() not in content
    assert key[3:].encode() not in content


def test_keys_differ(store: Store) -> None:
    made = [keys.create(store, PEPPER, f"team {number}", now_ms=0) for number in range(20)]

    assert len({key for key, _ in made}) == 20
    assert len({row.caller.id for _, row in made}) == 20
    assert {(key[:3], len(key)) for key, _ in made} == {("fl-", 46)}


def test_another_pepper_knows_no_key(store: Store) -> None:
    key, _ = keys.create(store, PEPPER, "team", now_ms=0)
    with pytest.raises(Unauthenticated, match="not known"):
        loaded(store, b"q" * 32).identify(key)


@pytest.mark.parametrize(
    ("credential", "message"),
    [
        pytest.param(None, "no API key", id="none"),
        pytest.param("", "no API key", id="empty"),
        pytest.param("sk-" + "a" * 43, "not an API key of this gateway", id="another service's"),
        pytest.param("fl-" + "a" * 42, "not an API key of this gateway", id="cut short"),
        pytest.param("fl-" + "é" * 43, "not an API key of this gateway", id="not ASCII"),
        pytest.param("fl-" + "\udcff" * 43, "not an API key of this gateway", id="not even text"),
        pytest.param("fl-" + "a" * 43, "not known here", id="unknown"),
    ],
)
def test_who_is_not_recognised_is_told_why_and_not_what_he_sent(
    store: Store, credential: str | None, message: str
) -> None:
    keys.create(store, PEPPER, "team", now_ms=0)
    with pytest.raises(Unauthenticated, match=message) as refusal:
        loaded(store).identify(credential)

    assert "a" * 42 not in refusal.value.message


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_key_is_refused_for_good(store: Store, by: str) -> None:
    key, row = keys.create(store, PEPPER, "team", now_ms=0)
    keys.revoke(store, row.caller.id if by == "id" else "team", 5)

    with pytest.raises(Unauthenticated, match="has been revoked"):
        loaded(store).identify(key)
    assert keys.list_keys(store)[0].revoked_ms == 5
    with pytest.raises(NotFound, match="no key in force"):
        keys.revoke(store, "team", 6)


def test_the_last_key_revoked_does_not_open_the_door(store: Store) -> None:
    keys.create(store, PEPPER, "team", now_ms=0)
    keys.revoke(store, "team", 0)
    with pytest.raises(Unauthenticated, match="no API key"):
        loaded(store).identify(None)


def test_a_name_is_free_again_once_its_key_is_revoked(store: Store) -> None:
    keys.create(store, PEPPER, "team", now_ms=0)
    with pytest.raises(BadRequest, match="there is a key named 'team'"):
        keys.create(store, PEPPER, "team", now_ms=1)
    keys.revoke(store, "team", 2)
    keys.create(store, PEPPER, "team", now_ms=3)

    assert [row.revoked_ms for row in keys.list_keys(store)] == [2, None]


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, "key_0123456789ab"])
def test_a_name_is_fit_to_print_and_no_id(store: Store, name: str) -> None:
    with pytest.raises(BadRequest, match="a key's name has"):
        keys.create(store, PEPPER, name, now_ms=0)


def test_every_change_is_noticed(store: Store) -> None:
    versions = [keys.keys_version(store)]
    keys.create(store, PEPPER, "team", now_ms=0)
    versions.append(keys.keys_version(store))
    keys.revoke(store, "team", 1)
    versions.append(keys.keys_version(store))

    assert versions == [0, 1, 2]
