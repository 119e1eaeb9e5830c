"""The database's tables, as forward-only numbered steps. Only text: store.py applies it.

A step that has shipped is never edited: its checksum is in the databases it made. While a new
version takes over, the old one still writes its rows, so they must fit after each step.
"""

from hashlib import sha256

from msgspec import Struct


class Migration(Struct, frozen=True):
    number: int
    name: str
    statements: tuple[str, ...]

    @property
    def checksum(self) -> str:
        return sha256("\n;\n".join(self.statements).encode()).hexdigest()


LEDGER = Migration(
    1,
    "ledger",
    (
        """
        CREATE TABLE intent (
          attempt_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, key_id TEXT NOT NULL,
          endpoint TEXT NOT NULL, credential TEXT NOT NULL, price_version TEXT NOT NULL,
          reserved_nano INTEGER, at_ms INTEGER NOT NULL, lease_until_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        # key_id and day repeat the intent's, so that the trigger needs no look-up.
        """
        CREATE TABLE settle (
          attempt_id TEXT PRIMARY KEY, key_id TEXT NOT NULL, day TEXT NOT NULL, nano INTEGER,
          input_tokens INTEGER, output_tokens INTEGER, cached_read_tokens INTEGER,
          cached_write_tokens INTEGER, reasoning_tokens INTEGER, basis TEXT NOT NULL,
          at_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        # "window" alone is a keyword of SQL.
        """
        CREATE TABLE spend (
          key_id TEXT NOT NULL, "window" TEXT NOT NULL, nano INTEGER NOT NULL,
          PRIMARY KEY (key_id, "window")
        ) STRICT, WITHOUT ROWID
        """,
        # A trigger runs once for each row that was really inserted, in its transaction: a settle
        # repeated by a retry is ignored and moves no balance.
        """
        CREATE TRIGGER settle_moves_balance AFTER INSERT ON settle BEGIN
          INSERT INTO spend (key_id, "window", nano) VALUES
            (new.key_id, 'day:' || new.day, coalesce(new.nano, 0)),
            (new.key_id, 'month:' || substr(new.day, 1, 7), coalesce(new.nano, 0))
          ON CONFLICT DO UPDATE SET nano = nano + excluded.nano;
        END
        """,
    ),
)

KEYS = Migration(
    2,
    "keys",
    (
        """
        CREATE TABLE access_key (
          id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL UNIQUE,
          routes TEXT NOT NULL, models TEXT NOT NULL, zones TEXT NOT NULL,
          requests_per_minute INTEGER, tokens_per_minute INTEGER,
          budget_day_nano_usd INTEGER, budget_month_nano_usd INTEGER,
          created_ms INTEGER NOT NULL, revoked_ms INTEGER
        ) STRICT
        """,
        "CREATE UNIQUE INDEX access_key_name ON access_key (name) WHERE revoked_ms IS NULL",
        "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
        "INSERT INTO counter VALUES ('access_key', 0)",
        # Other processes change keys; the running server watches this number.
        """
        CREATE TRIGGER access_key_added AFTER INSERT ON access_key BEGIN
          UPDATE counter SET value = value + 1 WHERE name = 'access_key';
        END
        """,
        """
        CREATE TRIGGER access_key_changed AFTER UPDATE ON access_key BEGIN
          UPDATE counter SET value = value + 1 WHERE name = 'access_key';
        END
        """,
    ),
)

JOURNAL = Migration(
    3,
    "journal",
    (
        """
        CREATE TABLE exchange (
          request_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL,
          caller TEXT NOT NULL, caller_name TEXT NOT NULL, dialect TEXT NOT NULL,
          operation TEXT NOT NULL, asked TEXT NOT NULL, route TEXT NOT NULL, task TEXT NOT NULL,
          difficulty REAL NOT NULL, stream INTEGER NOT NULL, outcome TEXT NOT NULL,
          status INTEGER NOT NULL, code TEXT NOT NULL, finish TEXT NOT NULL, model TEXT NOT NULL,
          endpoint TEXT NOT NULL, zone TEXT NOT NULL, attempts INTEGER NOT NULL,
          input_tokens INTEGER, output_tokens INTEGER, cached_read_tokens INTEGER,
          reasoning_tokens INTEGER, cost_nano INTEGER, expected_nano INTEGER,
          baseline_nano INTEGER, first_token_ms REAL, total_ms REAL NOT NULL,
          overhead_ms REAL NOT NULL, reason TEXT NOT NULL, dropped TEXT NOT NULL,
          workflow TEXT NOT NULL, step TEXT NOT NULL, tries TEXT NOT NULL, plan TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX exchange_at ON exchange (at_ms)",
    ),
)

# A rowid table: answers are long, and WITHOUT ROWID is for rows much shorter than a page
# (sqlite.org/withoutrowid.html).
KEPT_ANSWERS = Migration(
    4,
    "kept answers",
    (
        """
        CREATE TABLE kept_answer (
          name BLOB PRIMARY KEY, body_hash BLOB NOT NULL, request_id TEXT NOT NULL,
          at_ms INTEGER NOT NULL, streamed INTEGER NOT NULL, headers TEXT NOT NULL,
          body BLOB NOT NULL
        ) STRICT
        """,
        "CREATE INDEX kept_answer_at ON kept_answer (at_ms)",
    ),
)

MIGRATIONS = (LEDGER, KEYS, JOURNAL, KEPT_ANSWERS)
