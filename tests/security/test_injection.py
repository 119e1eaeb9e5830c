"""Threats 3, 10 and 11: what a caller says is data, for the database, for the endpoint's headers
and for the log."""

import ast
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fairlead.types.decision import Limits as KeyLimits
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted, reply

SRC = Path(__file__).parents[2] / "src" / "fairlead"

ENDINGS = ["", "--", "-- -", "#", "/*", ";", "';--", '"', "')", "'))--", "\\", "%00", " -- \t"]
ATTACKS = [
    *("'", '"', "`", "' OR '1'='1", '" OR ""="', "' OR 1=1", "1 OR 1=1", "') OR ('1'='1"),
    *("'; DROP TABLE access_key", '"; DROP TABLE settle', "'; DELETE FROM spend", "1; VACUUM"),
    *("' UNION SELECT digest FROM access_key", "' UNION ALL SELECT NULL,NULL,NULL"),
    *("' AND (SELECT 1 FROM (SELECT randomblob(1000000000)))", "' || (SELECT name FROM key) || '"),
    *("'; ATTACH DATABASE 'x' AS y", "'; PRAGMA writable_schema=1", "' AND load_extension('x')"),
    *("fl-' OR digest IS NOT NULL", "%' ESCAPE '\\", "x'41", "CHAR(39)", "0x27", "%27%20OR%201=1"),
    *("{{7*7}}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "{0.__class__}", "%s%n%x", "$(id)", "`id`"),
    *("\u02bc OR 1=1", "\uff07 OR 1=1", "admin'/*", "*/ OR 1=1 /*", "' OR SLEEP(9)", "' GLOB '*"),
]
PAYLOADS = [attack + ending for attack, ending in product(ATTACKS, ENDINGS)]

WHOLE = """
SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2
"""


def test_there_are_enough() -> None:
    assert len(set(PAYLOADS)) >= 500


async def test_no_credential_is_a_statement(keyed: Served) -> None:
    before = keyed.rows(WHOLE), keyed.rows("SELECT * FROM access_key")
    for payload in PAYLOADS:
        for name in ("authorization", "x-api-key"):
            value = payload.encode().decode("latin-1")
            sent = {"authorization": "", name: f"Bearer {value}" if name[0] == "a" else value}
            got = await keyed.request("GET", "/v1/models", headers=sent)
            assert got.status == 401

    assert (keyed.rows(WHOLE), keyed.rows("SELECT * FROM access_key")) == before


async def test_nothing_that_is_said_is_a_statement(keyed: Served, up: Scripted) -> None:
    before = keyed.rows(WHOLE), keyed.rows("SELECT * FROM access_key")
    for number, payload in enumerate(PAYLOADS):
        header = payload.encode().decode("latin-1")
        got = await keyed.ask("a", payload, user=payload, headers={"x-fairlead-workflow": header})
        assert got.status == 200
        assert up.asked("a")[-1].json["user"] == payload
        if number % 4 == 0:
            assert (await keyed.ask(payload)).status == 404
            assert (await keyed.request("GET", f"/v1/models/{header!r}")).status in (400, 404)
    record = await keyed.record()

    assert (keyed.rows(WHOLE), keyed.rows("SELECT * FROM access_key")) == before
    assert keyed.rows("PRAGMA integrity_check") == [("ok",)]
    assert len(record) >= len(PAYLOADS)
    await keyed.settled()


SQL = (
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE ",
    "CREATE ",
    "DROP ",
    "ALTER ",
    "PRAGMA ",
    "ATTACH ",
)
PUT_TOGETHER = {
    # Numbers of ours, and columns named in this code.
    ("outside/database.py", "PRAGMA page_size = "),
    ("outside/database.py", "PRAGMA wal_autocheckpoint = "),
}


def put_together(tree: ast.AST) -> Iterator[str]:
    """SQL that is no constant: an f-string, a ``+`` or ``%``, or ``format``."""
    for node in ast.walk(tree):
        text: Any = None
        if isinstance(node, ast.JoinedStr) and any(
            isinstance(part, ast.FormattedValue) for part in node.values
        ):
            text = node.values[0]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            text = node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            text = node.func.value if node.func.attr in ("format", "replace", "join") else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            said = text.value.lstrip()
            if said.startswith(SQL):
                yield said


@pytest.mark.parametrize(
    "source",
    [
        "f\"SELECT * FROM key WHERE name = '{name}'\"",
        '"SELECT * FROM key WHERE name = " + name',
        "\"DELETE FROM key WHERE name = '%s'\" % name",
        '"UPDATE key SET name = {}".format(name)',
    ],
)
def test_a_planted_statement_is_caught(source: str) -> None:
    assert list(put_together(ast.parse(source)))


def test_no_statement_is_put_together() -> None:
    found = {
        (str(path.relative_to(SRC)), said)
        for path in sorted(SRC.rglob("*.py"))
        for said in put_together(ast.parse(path.read_text()))
    }

    assert found == PUT_TOGETHER


BREAKS = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\r\nx-injected: 1",
    b"\nx-injected: 1\n",
    b"\x0b",
    b"\x7f",
]
CARRIED = [b"anthropic-version", b"anthropic-beta", b"x-fairlead-workflow", b"idempotency-key"]


@pytest.mark.parametrize("name", CARRIED)
async def test_no_value_breaks_a_line_on_its_way_to_an_endpoint(
    served: Served, up: Scripted, name: bytes
) -> None:
    body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi."}]}'
    for broken in BREAKS:
        head = served.head(body, "/v1/messages")
        put = head.replace(b"\r\n\r\n", b"\r\n%b: a%bb\r\n\r\n" % (name, broken))
        got = await served.raw(put + body)
        assert got[8:13] in (b" 400 ", b" 200 "), broken
    for seen in up.asked("m"):
        assert not {"x-injected", "b"} & seen.headers.keys()
        assert not set("\r\n\x00\x0b\x7f") & set("".join(seen.headers.values()))


EVIL = [
    *("a\r\nb", "a\nb", "\x1b[31mred\x1b[0m", '"}\n{"level":"error"}', "\u2028\u2029\x85", "\x00"),
    *('","outcome":"ok', "\\", "\ud7ff\ue000", "\u202eevil", "a" * 199, "%0a%0d", "\x9b2J", "\x7f"),
]


async def test_whatever_is_said_an_event_is_one_line(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=KeyLimits()) as keyed:
        for evil in EVIL:
            await keyed.ask(evil, evil, user=evil)
            await keyed.request("POST", "/v1/chat/completions", {"model": evil, "messages": evil})
            sent = {"x-fairlead-step": "".join(c for c in evil if " " <= c <= "~")}
            await keyed.ask("a", evil, headers=sent)

    assert lines_of(keyed) == 3 * len(EVIL)


async def test_what_an_endpoint_says_is_one_line_too(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        for evil in EVIL:
            error = {"message": evil, "code": evil, "type": evil}
            up.on("a", reply({"error": error}, status=400))
            await served.ask("a")

    assert lines_of(served) == len(EVIL)


def lines_of(served: Served) -> int:
    lines = served.log.getvalue().split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        assert isinstance(json.loads(line), dict)
        assert not set(line.decode()) & set("\r\x00\x1b\x85\x9b\u2028\u2029")
    return len(lines)
