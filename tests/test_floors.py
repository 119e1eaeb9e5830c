"""The architecture, as a test. To change the architecture, change this table first."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

FLOOR = {
    "types": 0,
    "dialects": 1,
    "decide": 1,
    "state": 2,
    "outside": 2,
    "dispatch": 3,
    "gateway": 4,
    "server": 5,
    "app": 6,
    "cli": 7,
    "__main__": 8,
}
PURE = {"types", "dialects", "decide"}
WORLD = {
    *("aiohttp", "asyncio", "anyio", "concurrent", "datetime", "http", "httpx", "io", "logging"),
    *("multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil"),
    *("signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time"),
    *("urllib", "uuid", "uvloop"),
}
MONEY = {"types", "decide", "state", "outside", "gateway", "dispatch"}
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

FILES = [path for path in sorted(SRC.rglob("*.py")) if path.parent != SRC]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))


def room_of(path: Path) -> str:
    return path.relative_to(SRC / "fairlead").with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield each imported module, however deep in the file the import hides."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "fairlead":
            yield from (f"fairlead.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def wrong_imports(room: str, tree: ast.AST) -> list[str]:
    wrong = []
    for module in imports(tree):
        root, _, rest = module.partition(".")
        other = rest.split(".")[0]
        if root == "fairlead" and rest and other != "__version__":
            if other != room and FLOOR[other] >= FLOOR[room]:
                wrong.append(f"{room} may not import {other}")
        elif room in PURE and root in WORLD:
            wrong.append(f"{room} is pure: no {module}")
    return wrong


@every_file
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return

    assert wrong_imports(room, ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("room", "source", "complaint"),
    [
        ("decide", "import time", "decide is pure: no time"),
        ("types", "from fairlead.state import keys", "types may not import state"),
        ("dialects", "import fairlead.decide", "dialects may not import decide"),
        ("outside", "from fairlead import state", "outside may not import state"),
        ("state", "def f():\n    import fairlead.server", "state may not import server"),
    ],
)
def test_a_planted_violation_is_caught(room: str, source: str, complaint: str) -> None:
    assert wrong_imports(room, ast.parse(source)) == [complaint]


@every_file
def test_fits_the_eye(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree), "say in one line what this file is for"
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_only_policy_makes_a_grant() -> None:
    makers = {
        str(path.relative_to(SRC / "fairlead"))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "Grant")
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "Grant")
        )
    }

    assert makers == {"decide/policy.py"}


def test_there_is_one_client() -> None:
    """Promise 1: every byte that goes to a model goes through one file, on its connections."""
    users = {
        str(path.relative_to(SRC / "fairlead"))
        for path in FILES
        if any(
            module.split(".")[0] in {"httpx", "httpx2", "requests", "urllib3"}
            or module.startswith(("aiohttp.client", "urllib.request"))
            for module in imports(ast.parse(path.read_text()))
        )
    }

    assert users == {"outside/connections.py", "outside/upstream.py"}


def test_nothing_remote_is_needed() -> None:
    """Promise 6: what is imported beside Python is these, and none of it talks to a store."""
    parts = {
        module.split(".")[0]
        for path in FILES
        for module in imports(ast.parse(path.read_text()))
        if path.parts[-3:-1] != ("cli", "demo")  # the demo is a caller, with the vendors' SDKs
    }

    assert parts - sys.stdlib_module_names == {
        *("aiohappyeyeballs", "aiohttp", "fairlead", "msgspec", "prometheus_client", "rich"),
        *("typer", "uvloop", "watchfiles", "yaml"),
    }


@every_file
def test_money_is_integers(path: Path) -> None:
    """Promise 5: nothing named ``nano`` or ``pico`` is ever annotated, divided or cast to float."""
    if room_of(path) not in MONEY:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            if "nano" in name or "pico" in name:
                assert "float" not in ast.unparse(node.annotation), name
