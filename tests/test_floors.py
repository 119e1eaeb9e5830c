"""The architecture, as a test. To change the architecture, change this table first."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC, TOOLS = ROOT / "src", ROOT / "tools"

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
MONEY = re.compile(r"nano|pico|usd|dollar|cost|price|spent|reserved|budget|worst|affordable")
SCORES = {"score.cost", "weights.cost"}
"""A utility between 0 and 1 and its weight: no amounts, though they have the name of one."""
SHOWN = {
    ("types/catalog.py", "cost: float"),
    ("types/decision.py", "cost: float"),
    # A JSON number of dollars, for readers of the demo's figures; nothing is computed with it.
    ("cli/demo/result.py", "nano_usd / NANO"),
    ("cli/demo/result.py", "_usd: float | None"),
    # Of decimals, which are exact.
    ("outside/config/difference.py", "Decimal(rate) / PICO_USD_PER_TOKEN"),
    ("tools/catalogue/rows.py", "usd * PICO_PER_USD / tokens"),
    # A model's strength, where only its price is known.
    ("tools/catalogue/strength.py", "by_price: float"),
    ("tools/catalogue/strength.py", "float((Decimal(rates.output) / PICO_PER_USD_MTOK).log10())"),
    ("tools/catalogue/strength.py", "Decimal(rates.output) / PICO_PER_USD_MTOK"),
    (
        "tools/catalogue/strength.py",
        "round(min(max(AT_ONE_DOLLAR + PER_DECADE * decades, least), most), 2)",
    ),
}
"""All that is no integer and has a name like money's, expression by expression."""
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

FILES = [path for path in sorted(SRC.rglob("*.py")) if path.parent != SRC]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
BESIDE = [
    path for room in ("bench", "fuzz", "prove", "tools") for path in (ROOT / room).rglob("*.py")
]
TESTS = list((ROOT / "tests").rglob("*.py"))
"""Their tables may be long, and grow by a row."""


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


@pytest.mark.parametrize(
    "path", sorted([*FILES, *BESIDE, *TESTS]), ids=lambda path: str(path.relative_to(ROOT))
)
def test_fits_the_eye(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree), "say in one line what this file is for"
    assert path in TESTS or len(path.read_text().splitlines()) <= MAX_FILE_LINES
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


def floats_in_money(tree: ast.AST) -> Iterator[str]:
    """Yield each expression that makes a float of what is named like an amount, and each
    annotation that lets one in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            yield from _float_annotation(name, node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield from _float_annotation(node.name, node.returns)
        elif _is_float_work(node) and any(map(MONEY.search, _names(node))):
            yield ast.unparse(node)


def _float_annotation(name: str, annotation: ast.expr) -> Iterator[str]:
    text = ast.unparse(annotation)
    if "float" in text and MONEY.search(name.lower()):
        yield f"{name}: {text}"


def _is_float_work(node: ast.AST) -> bool:
    """True division, a float beside it or assigned to it, or a function that gives or takes one."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return isinstance(node.op, ast.Div) or _is_float(node)
    if isinstance(node, ast.Compare):
        return any(map(_is_float, (node.left, *node.comparators)))
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.keyword):
        return node.value is not None and _is_float(node.value)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return called in ("float", "round", "fsum") or called.startswith("math.")
    return False


def _is_float(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_float(node.left) or _is_float(node.right)
    if isinstance(node, ast.IfExp):
        return _is_float(node.body) or _is_float(node.orelse)
    if isinstance(node, ast.AugAssign):
        return _is_float(node.value)
    return isinstance(node, ast.Constant) and isinstance(node.value, float)


def _names(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part) not in SCORES:
            yield part.attr.lower()
        elif isinstance(part, ast.Name):
            yield part.id.lower()
        elif isinstance(part, ast.keyword) and part.arg:
            yield part.arg.lower()


MONEY_FILES = [(str(path.relative_to(SRC / "fairlead")), path) for path in FILES]
MONEY_FILES += [(str(path.relative_to(TOOLS.parent)), path) for path in sorted(TOOLS.rglob("*.py"))]


@pytest.mark.parametrize(("name", "path"), MONEY_FILES, ids=[name for name, _ in MONEY_FILES])
def test_money_is_integers(name: str, path: Path) -> None:
    """Promise 5: no amount is ever annotated, divided, multiplied or compared as a float."""
    found = set(floats_in_money(ast.parse(path.read_text())))

    assert sorted(found - {text for file, text in SHOWN if file == name}) == []


def test_every_exception_for_money_is_still_there() -> None:
    met = {
        (name, text)
        for name, path in MONEY_FILES
        for text in floats_in_money(ast.parse(path.read_text()))
    }

    assert sorted(SHOWN - met) == []


@pytest.mark.parametrize(
    "source",
    [
        "left = spent_nano_usd / 2",
        "left /= cost",
        "self.spent_nano_usd += 0.5",
        "cost = 0.0",
        "charge(cost_nano_usd=1.5)",
        "float(worst)",
        "round(hold.reserved_nano_usd)",
        "math.ceil(pico_usd)",
        "1e9 < budget_day_nano_usd",
        "cost = tokens * 2.5",
        "cost = 0.0 if free else worst",
        "price: float | None = None",
        "def f(worst: float): pass",
        "def total_usd() -> float: pass",
        "class A:\n    cost_nano_usd: float",
    ],
)
def test_a_planted_float_is_caught(source: str) -> None:
    assert list(floats_in_money(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "cost = -(-pico_usd // 1000)",
        "whole, rest = divmod(nano_usd, 1_000_000_000)",
        "left_s = until_ms / 1000",
        "share = 0.5",
        "worst: int | None = None",
    ],
)
def test_whole_amounts_and_other_floats_are_left_alone(source: str) -> None:
    assert list(floats_in_money(ast.parse(source))) == []
