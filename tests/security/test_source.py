"""Threats 7 and 21: the source runs no commands and no templates, and what is installed is what the
lock file names."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "fairlead"

MODULES = {
    *("subprocess", "multiprocessing", "pty", "popen2", "commands", "runpy", "code", "codeop"),
    *("pickle", "cPickle", "marshal", "shelve", "dill", "jsonpickle", "ctypes", "cffi"),
    *("jinja2", "mako", "chevron", "pystache", "string.Template", "xml", "lxml"),
}
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
ATTRIBUTES = {
    *("os.system", "os.popen", "os.spawnv", "os.fork", "os.execv", "os.execve", "os.execvp"),
    *("os.posix_spawn", "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader"),
    *("importlib.import_module", "pkgutil.get_loader", "importlib.reload"),
}
ALLOWED = {
    # `fairlead demo` from a checkout starts itself again, with its own arguments.
    ("cli/main.py", "os.execv"),
    # The demo's own prompts, filled with the answers before; it knows names and nothing else.
    ("cli/demo/walk.py", "string"),
}


def dangers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & ATTRIBUTES
            if node.module in MODULES or names & MODULES:
                yield str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from {node.func.id} & NAMES
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from {f"{node.value.id}.{node.attr}"} & ATTRIBUTES


@pytest.mark.parametrize(
    "source",
    [
        *("import subprocess", "from subprocess import run", "eval('1')", "import pickle"),
        *("os.system('x')", "yaml.load(text)", "from importlib import import_module"),
        *("from string import Template", "__import__('os')", "exec(text)"),
    ],
)
def test_a_planted_danger_is_caught(source: str) -> None:
    assert list(dangers(ast.parse(source)))


def test_nothing_runs_what_it_is_told() -> None:
    found = {
        (str(path.relative_to(SRC)), danger)
        for path in sorted(SRC.rglob("*.py"))
        for danger in dangers(ast.parse(path.read_text()))
    }

    assert found == ALLOWED


def test_a_key_is_compared_in_constant_time() -> None:
    tree = ast.parse((SRC / "state" / "keys.py").read_text())
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]

    assert "compare_digest" in (SRC / "state" / "keys.py").read_text()
    assert [one for one in compared if "digest ==" in one or "digest !=" in one] == []


# What is installed.

LOCKS = [ROOT / "requirements.lock", ROOT / "fuzz" / "requirements.lock"]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
OURS = {"fairlead", "pip", "setuptools", "wheel"}
"""The project itself, and what ``python -m venv`` brings."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[tuple[str, str]]:
    """Some have a version for each Python."""
    return {
        (canonical(name), pin) for path in LOCKS for name, pin in PINNED.findall(path.read_text())
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_pin_has_hashes_and_nothing_else_is_there(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())

    assert entries
    for entry in entries:
        first, *hashes = [line.strip(" \\") for line in entry.splitlines()]
        assert PINNED.match(first), first
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), first


def installed() -> dict[str, str]:
    """Below the environment that these tests run in, which ``make`` built."""
    return {
        canonical(each.metadata["Name"]): each.version
        for each in distributions()
        if Path(str(each.locate_file(""))).is_relative_to(sys.prefix)
    }


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in an environment of its own")
def test_what_is_installed_is_what_is_locked() -> None:
    assert "fairlead" in installed(), "to be run in the environment that make builds"
    assert {each for each in installed().items() if each[0] not in OURS} <= locked()


def test_no_path_file_runs_code() -> None:
    """Lines of a ``.pth`` that begin with ``import`` run whenever Python starts."""
    places = {Path(str(each.locate_file(""))) for each in distributions()}
    code = {
        (path.name, line)
        for place in places
        if place.is_relative_to(sys.prefix)
        for path in place.glob("*.pth")
        for line in path.read_text().splitlines()
        if line.startswith(("import ", "import\t"))
    }

    assert {name for name, _ in code} <= {"distutils-precedence.pth"}


def test_what_the_product_needs_is_little() -> None:
    """Each is named with its reason in pyproject.toml; one more is a decision."""
    wanted = re.search(
        r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert wanted is not None
    lines = [line for line in wanted[1].splitlines() if '"' in line]

    assert len(lines) <= 9
    assert all("#" in line for line in lines)
