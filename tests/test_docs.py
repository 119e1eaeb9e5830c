"""The pages keep up with the code: what is met in use stands in them, and links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead import __version__
from fairlead.decide.eligible import FITNESS, HEALTH, LIMITS
from fairlead.dialects.wire import IN_HEADERS, IN_METADATA
from fairlead.types import errors
from fairlead.types.errors import CLIENT_VIEW, Failure, GatewayError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
HEADER = re.compile(r"x-fairlead-[a-z][a-z-]+[a-z]|x-should-retry|retry-after")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        page = path.parent / target if target else path
        assert page.exists(), target
        assert not anchor or page.suffix != ".md" or anchor in anchors(page), anchor


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()

    assert [each.name for each in PAGES[2:] if f"docs/{each.name}" not in readme] == []


def test_the_readme_names_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"^ {4}make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))

    assert told
    assert told <= targets


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def error_codes() -> Iterator[tuple[int, str]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, GatewayError):
            yield kind.status, kind.code
    yield from CLIENT_VIEW.values()


@pytest.mark.parametrize(
    ("status", "code"), sorted(set(error_codes())), ids=lambda value: str(value)
)
def test_every_error_is_told(status: int, code: str) -> None:
    assert f"| {status} | `{code}` |" in page("api.md")


def test_every_header_is_told() -> None:
    written = {
        name for path in (ROOT / "src").rglob("*.py") for name in HEADER.findall(path.read_text())
    } | set(IN_HEADERS.values())

    assert sorted(name for name in written if f"`{name}`" not in page("api.md")) == []


def test_every_wish_in_metadata_is_told() -> None:
    keys = [place.removeprefix("metadata.") for place in IN_METADATA.values()]

    assert [key for key in keys if f"`{key}`" not in page("api.md")] == []


def test_every_failure_is_told() -> None:
    assert [each for each in Failure if f"| `{each}` |" not in page("failover.md")] == []


def test_every_rule_of_a_rejection_is_told() -> None:
    rules = {row[0] for row in (*FITNESS, *LIMITS, *HEALTH)} | {"policy", "zone", "model_list"}

    assert [rule for rule in rules if f"| `{rule}` |" not in page("routing.md")] == []


def promised_tests(name: str = "promises.md") -> list[tuple[int, str, str]]:
    """The number of the promise or threat, the file and the name of the test."""
    rows = re.findall(r"^\| (\d+) \|(.*)$", page(name), re.MULTILINE)
    return [(int(number), *found) for number, row in rows for found in TEST.findall(row)]


def test_every_promise_has_a_test() -> None:
    assert {number for number, _, _ in promised_tests()} == set(range(1, 12))


def test_every_threat_has_a_test() -> None:
    assert {number for number, _, _ in promised_tests("security.md")} == set(range(1, 22))


@pytest.mark.parametrize(
    ("number", "file", "name"), [*promised_tests(), *promised_tests("security.md")]
)
def test_the_promised_tests_exist(number: int, file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
