"""``fairlead demo`` as users run it: twenty steps, the promised object, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from servers.gateway import PROGRAM, environment

PATIENCE_S = 120.0
STEP = {"step", "task", "model", "endpoint", "zone", "attempts", "cost_usd", "latency_ms", "why"}
TOTALS = {
    *("steps", "models_used", "failovers"),
    *("cost_usd", "flagship_only_cost_usd", "left_zone"),
}


@dataclass(frozen=True)
class Ran:
    status: int
    output: str
    errors: str
    folder: Path
    """Where it put its temporary files."""
    group: int
    """Its process group."""

    @property
    def told(self) -> Any:
        return json.loads(self.output)


def start(
    folder: Path, *words: str, more: Mapping[str, str] | None = None, ignoring: bool = False
) -> "subprocess.Popen[str]":
    """As in a terminal; ``ignoring`` Ctrl-C as a script's background job, which these tests may be
    as well."""
    at_ctrl_c = signal.SIG_IGN if ignoring else signal.SIG_DFL
    return subprocess.Popen(
        [str(PROGRAM), "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment({"TMPDIR": str(folder), "COLUMNS": "80", **(more or {})}),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, at_ctrl_c),
    )


def run(folder: Path, *words: str, **more: str) -> Ran:
    with start(folder, *words, more=more) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    return Ran(process.returncode, output, errors, folder, process.pid)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    # A proxy that nobody serves must not be asked for what runs on this machine.
    proxies = {name: "http://127.0.0.1:1" for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY")}
    return run(tmp_path_factory.mktemp("demo"), "--json", "--speed", "25", **proxies)


def test_every_step_is_answered(ran: Ran) -> None:
    assert (ran.status, ran.errors) == (0, "")
    assert [step["step"] for step in ran.told["steps"]] == list(range(1, 21))
    assert all(step["model"] and step["attempts"] >= 1 for step in ran.told["steps"])


def test_the_object_has_the_promised_keys_and_no_others(ran: Ran) -> None:
    assert ran.told.keys() == {"steps", "totals"}
    assert {frozenset(step) for step in ran.told["steps"]} == {frozenset(STEP)}
    assert ran.told["totals"].keys() == TOTALS


def test_the_totals_are_those_of_the_steps(ran: Ran) -> None:
    steps, totals = ran.told["steps"], ran.told["totals"]

    assert totals["steps"] == len(steps)
    assert totals["models_used"] == len({step["model"] for step in steps}) >= 4
    assert totals["failovers"] == sum(step["attempts"] > 1 for step in steps) >= 2
    assert totals["cost_usd"] == pytest.approx(sum(step["cost_usd"] for step in steps))


def test_routing_costs_less_than_the_flagship_alone(ran: Ran) -> None:
    assert 0 < ran.told["totals"]["cost_usd"] < ran.told["totals"]["flagship_only_cost_usd"]


def test_personal_data_stays_at_home(ran: Ran) -> None:
    assert ran.told["totals"]["left_zone"] == 0
    assert ran.told["steps"][9]["zone"] == "local"


def test_every_step_says_why(ran: Ran) -> None:
    assert all(step["why"] and step["task"] for step in ran.told["steps"])
    failed_over = [step["why"] for step in ran.told["steps"] if step["attempts"] > 1]
    assert all(" failed (" in why for why in failed_over)


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_nothing_is_left_behind(ran: Ran) -> None:
    assert list(ran.folder.iterdir()) == []
    assert not is_running(ran.group)


@pytest.mark.parametrize(
    ("number", "ignoring"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "told", "told in the background"],
)
def test_nor_when_it_is_told_to_stop(
    tmp_path: Path, number: signal.Signals, ignoring: bool
) -> None:
    with start(tmp_path, ignoring=ignoring) as process:
        assert process.stdout is not None
        while "step" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode not in (0, None)
    assert "Traceback" not in output + errors
    assert list(tmp_path.iterdir()) == []


def test_it_is_read_on_a_narrow_terminal(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"

    ran = run(tmp_path, "--speed", "50", "--svg", str(picture))

    assert (ran.status, ran.errors) == (0, "")
    assert max(map(len, ran.output.splitlines())) <= 80
    assert re.search(r"20 steps, \d models, \d failovers, \d+% saved", ran.output)
    assert "Personal data left its zone 0 times" in ran.output
    assert picture.read_text().startswith("<svg")


@contextmanager
def without(folder: Path, *packages: str) -> Iterator[str]:
    """A folder for PYTHONPATH in whose processes these cannot be found."""
    hide = f"import sys\nsys.modules.update(dict.fromkeys({packages!r}))\n"
    (folder / "sitecustomize.py").write_text(hide)
    yield str(folder)


@pytest.mark.parametrize("missing", ["openai", "anthropic"])
def test_without_the_sdks_it_says_in_one_line_what_to_install(tmp_path: Path, missing: str) -> None:
    with without(tmp_path, missing) as path:
        ran = run(tmp_path, PYTHONPATH=path)

    assert (ran.status, ran.output) == (1, "")
    (line,) = ran.errors.splitlines()
    assert "pip install openai anthropic" in line


@pytest.mark.parametrize(
    ("words", "told"), [(("--speed", "0"), "--speed"), (("--fast",), "--fast")]
)
def test_a_wrong_option_is_told(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    ran = run(tmp_path, *words)

    assert ran.status == 2
    assert told in ran.errors


def test_a_picture_that_cannot_be_kept_is_told_before_the_demo(tmp_path: Path) -> None:
    picture = tmp_path / "none" / "demo.svg"

    ran = run(tmp_path, "--svg", str(picture))

    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == f"{picture}: No such file or directory\n"


def test_a_terminal_that_cannot_show_it_is_told_so(tmp_path: Path) -> None:
    ran = run(tmp_path, "--speed", "50", PYTHONIOENCODING="ascii")

    assert ran.status == 1
    assert ran.errors == "some of this text cannot be written in the encoding in use\n"


def test_its_help_is_its_own(tmp_path: Path) -> None:
    ran = run(tmp_path, "--help")

    assert ran.status == 0
    assert "--speed" in ran.output
