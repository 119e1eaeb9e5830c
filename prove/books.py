"""What the gateway's ledger has on disk, read from the file and without the gateway's code."""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNEQUAL = """
SELECT count(*) FROM
  (SELECT key_id, 'day:' || day AS "window", sum(coalesce(nano, 0)) AS settled
     FROM settle GROUP BY 1, 2
   UNION ALL
   SELECT key_id, 'month:' || substr(day, 1, 7), sum(coalesce(nano, 0)) FROM settle GROUP BY 1, 2)
  FULL JOIN spend USING (key_id, "window")
WHERE settled IS NOT nano
"""
"""Keys and windows whose balance is not the sum of what was settled in them."""


@dataclass(frozen=True)
class Row:
    """One attempt: its intent, and its settlement where there is one."""

    attempt_id: str
    key_id: str
    reserved_nano_usd: int | None
    nano_usd: int | None
    basis: str
    """Empty while nothing is settled."""
    tokens: tuple[int, int, int, int, int]
    """Input, output, and of them read from a cache, written to one, and thought."""

    @property
    def request_id(self) -> str:
        return self.attempt_id.rpartition(".")[0]


class Books:
    def __init__(self, database: Path) -> None:
        self._database = database

    def read(self, sql: str) -> Sequence[Sequence[Any]]:
        address = f"{self._database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=10.0)) as connection:
            return connection.execute(sql).fetchall()

    def rows(self) -> list[Row]:
        """Every attempt of which there is anything."""
        sql = """
        SELECT attempt_id, coalesce(intent.key_id, settle.key_id), reserved_nano, nano,
               coalesce(basis, ''), coalesce(input_tokens, 0), coalesce(output_tokens, 0),
               coalesce(cached_read_tokens, 0), coalesce(cached_write_tokens, 0),
               coalesce(reasoning_tokens, 0)
        FROM intent FULL JOIN settle USING (attempt_id)
        """
        return [
            Row(attempt_id, key_id, reserved, nano, basis, (a, b, c, d, e))
            for attempt_id, key_id, reserved, nano, basis, a, b, c, d, e in self.read(sql)
        ]

    def by_request(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows():
            found[row.request_id].append(row)
        return found

    def open_intents(self) -> int:
        return self._count(
            "SELECT count(*) FROM intent WHERE attempt_id NOT IN (SELECT attempt_id FROM settle)"
        )

    def balances_that_differ(self) -> int:
        return self._count(UNEQUAL)

    def journal_differs_nano_usd(self) -> int:
        """By how much the journal's costs, which people look at, are not the ledger's."""
        return self._count(
            "SELECT abs((SELECT coalesce(sum(nano), 0) FROM settle)"
            " - (SELECT coalesce(sum(cost_nano), 0) FROM exchange))"
        )

    def key_ids(self) -> dict[str, str]:
        """By name."""
        return {name: key_id for key_id, name in self.read("SELECT id, name FROM access_key")}

    def spent_nano_usd(self, key_id: str, window: str = "day") -> int:
        rows = self.read('SELECT key_id, "window", nano FROM spend')
        return sum(nano for key, of, nano in rows if key == key_id and of.startswith(window))

    def _count(self, sql: str) -> int:
        return int(self.read(sql)[0][0])
