"""Who holds which key: issue, recognise, revoke. Knows digests only; a key is shown once.

The digest is HMAC-SHA-256 with a pepper that is not in the database: a copy of the database
alone does not let anybody test guesses.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import BadRequest, NotFound, Unauthenticated

PREFIX = "fl-"
KEY_LENGTH = len(PREFIX) + 43
"""32 bytes in base64url, without padding."""
ID_PREFIX = "key_"
LONGEST_NAME = 100

LOCAL = Caller(id="local", name="local")

ALL = """
SELECT id, name, digest, routes, models, zones, requests_per_minute, tokens_per_minute,
       budget_day_nano_usd, budget_month_nano_usd, created_ms, revoked_ms
FROM access_key ORDER BY created_ms, id
"""
ADD = "INSERT OR IGNORE INTO access_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
REVOKE = "UPDATE access_key SET revoked_ms = ? WHERE revoked_ms IS NULL AND (id = ? OR name = ?)"
VERSION = "SELECT value FROM counter WHERE name = 'access_key'"

# No message repeats the credential: it ends up in logs, and may be another service's key.
MISSING = "no API key: send one as 'Authorization: Bearer fl-...' or 'x-api-key: fl-...'"
MALFORMED = f"not an API key of this gateway: those are {PREFIX!r} and 43 more characters"
UNKNOWN = "this API key is not known here"
REVOKED = "this API key has been revoked"


class Rows(Protocol):
    """What key management needs of a store."""

    def read(self, sql: str) -> Sequence[Sequence[object]]: ...

    def write(self, sql: str, params: tuple[str | int | bytes | None, ...] = ()) -> int: ...


class KeyRow(Struct, frozen=True):
    """A key as it is kept."""

    caller: Caller
    digest: bytes
    created_ms: int
    revoked_ms: int | None = None


class Keys:
    """The keys in force. ``replace`` swaps them all."""

    def __init__(self, pepper: bytes, rows: Iterable[KeyRow] = ()) -> None:
        self._peppered = _peppered(pepper)
        self._by_digest: dict[bytes, KeyRow] = {}
        self.replace(rows)

    def replace(self, rows: Iterable[KeyRow]) -> None:
        self._by_digest = {row.digest: row for row in rows}

    @property
    def exist(self) -> bool:
        """Whether a key was ever made: from then on every request needs one."""
        return bool(self._by_digest)

    def identify(self, credential: str | None) -> Caller:
        """The caller who holds this key, or ``local`` where no key was ever made.

        Raises Unauthenticated.
        """
        if not self._by_digest:
            return LOCAL
        if not credential:
            raise Unauthenticated(MISSING)
        if (
            len(credential) != KEY_LENGTH
            or not credential.startswith(PREFIX)
            or not credential.isascii()
        ):
            raise Unauthenticated(MALFORMED)
        # How long the look-up takes depends on the digest, which nobody without the pepper can
        # steer; the comparison that counts takes the same time for any.
        digest = _digest(self._peppered, credential)
        row = self._by_digest.get(digest)
        if row is None or not hmac.compare_digest(row.digest, digest):
            raise Unauthenticated(UNKNOWN)
        if row.revoked_ms is not None:
            raise Unauthenticated(REVOKED)
        return row.caller


def keys_version(store: Rows) -> int:
    """A number that grows whenever any process changes a key."""
    ((version,),) = store.read(VERSION)
    return msgspec.convert(version, int)


def list_keys(store: Rows) -> list[KeyRow]:
    """Every key ever made, revoked ones too, oldest first."""
    return [_row(tuple(row)) for row in store.read(ALL)]


def any_in_force(rows: Iterable[KeyRow]) -> bool:
    return any(row.revoked_ms is None for row in rows)


def create(
    store: Rows,
    pepper: bytes,
    name: str,
    routes: tuple[str, ...] = (),
    models: tuple[str, ...] = (),
    zones: tuple[str, ...] = (),
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    now_ms: int,
) -> tuple[str, KeyRow]:
    """Make a key: the key itself, to be shown once, and what is kept of it.

    Raises BadRequest when the name is taken by a key in force, or is none.
    """
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name.startswith(ID_PREFIX):
        raise BadRequest(
            f"a key's name has 1 to {LONGEST_NAME} characters that can be shown, and does not begin"
            f" with {ID_PREFIX}"
        )
    key = PREFIX + urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    caller = Caller(ID_PREFIX + secrets.token_hex(6), name, routes, models, zones, limits)
    row = KeyRow(caller, _digest(_peppered(pepper), key), now_ms)
    params = (
        *(caller.id, name, row.digest),
        *(msgspec.json.encode(names).decode() for names in (routes, models, zones)),
        *msgspec.structs.astuple(limits),
        now_ms,
    )
    if store.write(ADD, params) == 0:
        raise BadRequest(f"there is a key named {name!r}: revoke it, or choose another name")
    return key, row


def revoke(store: Rows, id_or_name: str, now_ms: int) -> None:
    """Running servers notice within half a second. Raises NotFound."""
    if store.write(REVOKE, (now_ms, id_or_name, id_or_name)) == 0:
        raise NotFound(f"there is no key in force with the id or name {id_or_name!r}")


def _peppered(pepper: bytes) -> hmac.HMAC:
    """Begun once and copied for each key. ``hmac.digest`` would let go of the interpreter each
    time, and have to win it back from the threads that write and send."""
    return hmac.new(pepper, digestmod="sha256")


def _digest(peppered: hmac.HMAC, key: str) -> bytes:
    keyed = peppered.copy()
    keyed.update(key.encode())
    return keyed.digest()


def _row(columns: tuple[object, ...]) -> KeyRow:
    key_id, name, digest, *rest = columns
    routes, models, zones = (
        msgspec.json.decode(str(text), type=tuple[str, ...]) for text in rest[:3]
    )
    limits = msgspec.convert(dict(zip(Limits.__struct_fields__, rest[3:7], strict=True)), Limits)
    caller = Caller(str(key_id), str(name), routes, models, zones, limits)
    row = {"caller": caller, "digest": digest, "created_ms": rest[7], "revoked_ms": rest[8]}
    return msgspec.convert(row, KeyRow)
