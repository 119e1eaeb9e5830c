"""The database file: who may read it, how it is opened, which schema it has. Knows no rows."""

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from fairlead.outside.schema import MIGRATIONS, Migration
from fairlead.types.errors import OurError

BUSY_TIMEOUT_S = 2.0
PAGE_BYTES = 8192
"""Fewer, larger pages suit rows of two kilobytes: a seventh less work than with 4096."""
CHECKPOINT_PAGES = 4000
"""32 MB of log between checkpoints: fewer pauses than SQLite's 4 MB."""


class InUse(OurError):
    """Another process is the one server of this database."""


MIGRATION_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
) STRICT
"""


def create(path: Path) -> None:
    """Make the file (0600) and its directory (0700) if missing, and bring its schema up to date.

    Raises OurError when the schema is newer than this program, or was altered.
    """
    _make_folder(path.parent)
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    try:
        with closing(connect(path)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file only
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, MIGRATIONS)
    except sqlite3.Error as error:
        raise OurError(f"the records cannot be used: {path}: {error}") from error
    except OurError as error:
        raise OurError(f"{path}: {error.message}") from error


def _make_folder(path: Path) -> None:
    """Raises OurError: the system would name the first parent that is missing."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OurError(
            f"records cannot be kept in {path}: {error.strerror}; --data takes another folder"
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, durable on commit. May be used from any one thread."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    # FULL: a commit survives loss of power, not only of the process (sqlite.org/pragma.html).
    connection.execute("PRAGMA synchronous = FULL")
    # What is deleted is overwritten: an answer that is forgotten is not left in a free page.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S
    )
    connection.row_factory = sqlite3.Row
    return connection


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...]) -> None:
    """Apply what is missing, in one transaction: another process sees all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(MIGRATION_TABLE)
        query = "SELECT number, checksum FROM migrations ORDER BY number"
        applied = dict(connection.execute(query).fetchall())
        if unknown := applied.keys() - {migration.number for migration in migrations}:
            newest = max((migration.number for migration in migrations), default=0)
            raise OurError(
                f"it has schema {max(unknown)}, made by a newer version of Fairlead; this one knows"
                f" {newest} and leaves it alone: run the newer one, or --data takes another folder"
            )
        for migration in migrations:
            _apply(connection, migration, applied.get(migration.number))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _apply(connection: sqlite3.Connection, migration: Migration, applied: str | None) -> None:
    if applied == migration.checksum:
        return
    if applied is not None:
        raise OurError(f"step {migration.number} of its schema is not the one known here")
    for statement in migration.statements:
        connection.execute(statement)
    row = (migration.number, migration.name, migration.checksum)
    connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", row)


def lock(path: Path) -> int:
    """Become the one server of this database, until the returned descriptor is closed.

    Raises InUse when another process is: two would settle each other's open attempts.
    """
    _make_folder(path.parent)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InUse(
            f"another server is using {path}; `fairlead serve --take-over` takes its place"
        ) from None
    return descriptor
