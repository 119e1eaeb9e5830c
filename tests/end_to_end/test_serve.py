"""``fairlead serve`` as a person runs it: it starts with nothing, follows its file, its keys and
its signals, survives its own death, and says in one line why it does not start."""

import http.client
import json
import os
import pty
import shlex
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from servers.canned import OPENAI
from servers.gateway import PROGRAM, Gateway, create_key, environment, gateway
from servers.plain import ask, request, streaming
from servers.scripted import Gate, Scripted, stream
from servers.setup import Setup

FRAMES = OPENAI["text"].frames
USUAL_PORTS = (11434, 1234, 8080, 8000, 30000)
HALF_A_SECOND = 0.5
MOST_S = 10.0


def rows(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(data / "fairlead.db")) as connection:
        return connection.execute(sql).fetchall()


def turns(address: str, status: int, key: str = "") -> float:
    """Seconds until a request is answered like this."""
    began_s = monotonic()
    while ask(address, "small", key=key).status != status:
        assert monotonic() < began_s + MOST_S
    return monotonic() - began_s


def refuses(running: Gateway) -> None:
    """Returns once no new connection is taken."""
    until_s = monotonic() + MOST_S
    with suppress(ConnectionError, http.client.HTTPException):
        while monotonic() < until_s:
            request("GET", f"{running.address}/healthz")


# With nothing.


def curl(printed: str) -> tuple[str, dict[str, str], str]:
    """The command that the greeting prints, as the shell would read it: URL, headers and body."""
    _, command = printed.split("Try it:")
    words = iter(shlex.split(command.replace("\\\n", " ")))
    assert next(words) == "curl"
    url, headers, body = "", {}, ""
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        else:
            url = word
    return url, headers, body


@pytest.fixture(scope="module")
def with_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    for port in USUAL_PORTS:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
            pytest.skip(f"something listens on {port}, so there is not nothing")
    with gateway(tmp_path_factory.mktemp("nothing"), None) as running:
        yield running


def test_with_nothing_it_serves_what_is_simulated_and_says_so(with_nothing: Gateway) -> None:
    with_nothing.output.wait_for("Try it:")

    assert "SIMULATED" in with_nothing.output.text
    assert all(len(line) <= 100 for line in with_nothing.output.text.splitlines())


def test_the_command_it_prints_works(with_nothing: Gateway) -> None:
    with_nothing.output.wait_for(r"-d .*\n")
    url, headers, body = curl(with_nothing.output.text)

    got = request("POST", url, body.encode(), headers)

    assert got.status == 200
    assert got.text.startswith("[simulated ")


@pytest.mark.parametrize("route", ["auto", "best", "cheap", "fast", "local"])
def test_every_route_answers(with_nothing: Gateway, route: str) -> None:
    got = ask(with_nothing.address, route)

    assert (got.status, got.headers["x-fairlead-route"]) == (200, route)
    assert got.text.startswith("[simulated ")


def test_what_was_asked_is_on_record(with_nothing: Gateway) -> None:
    got = ask(with_nothing.address, "auto", "Translate into German: the line runs clear.")

    explained = with_nothing.command("explain", got.request_id)
    assert got.headers["x-fairlead-model"] in explained
    (line,) = [
        line
        for line in map(json.loads, with_nothing.command("logs", "--json").splitlines())
        if line["request_id"] == got.request_id
    ]
    assert line["model"] == got.headers["x-fairlead-model"]
    assert got.headers["x-fairlead-model"] in with_nothing.command("usage")


# While it runs.


def test_it_follows_its_file(tmp_path: Path, setup: Setup, up: Scripted) -> None:
    secrets = {**setup.secrets, "KEY_OTHER": "sk-canary-other"}
    with gateway(tmp_path, setup.text(), secrets) as running:
        assert ask(running.address, "other").status == 404

        running.config.write_text(setup.endpoint("other", up.address, "openai_chat").text())

        running.output.wait_for(r"\+ provider at-other: 1 endpoint")
        assert ask(running.address, "other").status == 200


def test_it_reads_its_file_when_signalled(tmp_path: Path, setup: Setup) -> None:
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        running.process.send_signal(signal.SIGHUP)

        running.output.wait_for("reloaded: nothing has changed")
        assert ask(running.address, "small").status == 200


def test_on_a_terminal_nothing_is_told_twice(tmp_path: Path, setup: Setup) -> None:
    config = tmp_path / "fairlead.yaml"
    config.write_text(setup.text())
    ours, its = pty.openpty()
    words = ["--config", str(config), "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [str(PROGRAM), "serve", *words], stdout=its, stderr=its, env=environment(setup.secrets)
    ) as process:
        os.close(its)
        lines = []
        # Linux tells the end of a terminal by EIO.
        with open(ours, encoding="utf-8") as terminal, suppress(OSError):
            for line in terminal:
                lines.append(line)
                if "-d " in line:
                    process.send_signal(signal.SIGHUP)
                if "reloaded" in line:
                    process.terminate()

    assert sum("reloaded" in line for line in lines) == 1


def test_a_broken_file_changes_nothing(tmp_path: Path, setup: Setup) -> None:
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        running.config.write_text("providers:\n  openai: {dialekt: x}\n")

        running.output.wait_for(r"fairlead.yaml:2:12: .*\n.*\n.*\^")
        running.output.wait_for("the old one stays in force")
        assert ask(running.address, "small").status == 200


def test_keys_count_from_when_they_are_made(tmp_path: Path, setup: Setup) -> None:
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        assert ask(running.address, "small").status == 200

        key = create_key(running.data, "team")
        assert turns(running.address, 401) < HALF_A_SECOND
        assert ask(running.address, "small", key=key).status == 200

        running.command("keys", "revoke", "team")
        assert turns(running.address, 401, key) < HALF_A_SECOND


# How it ends.


def test_killed_in_a_stream_it_settles_at_the_next_start(
    tmp_path: Path, setup: Setup, up: Scripted
) -> None:
    up.on("small", stream(*FRAMES[:2], Gate()), OPENAI["text"])
    key = create_key(tmp_path / "data", "team", "--budget-day", "1")
    with (
        gateway(tmp_path, setup.text(), setup.secrets) as running,
        streaming(running.address, "small", key) as response,
    ):
        assert response.read1()
        running.kill()

    for _ in range(2):
        with gateway(tmp_path, setup.text(), setup.secrets) as running:
            assert ask(running.address, "small", key=key).status == 200

    bases = [basis for (basis,) in rows(tmp_path / "data", "SELECT basis FROM settle")]
    assert sorted(bases) == ["lease_expired_max", "provider_usage", "provider_usage"]
    attempts = "SELECT count(*), count(DISTINCT request_id) FROM intent"
    assert rows(tmp_path / "data", attempts) == [(3, 3)]
    charged = rows(tmp_path / "data", "SELECT sum(nano) FROM settle")
    spent = rows(tmp_path / "data", "SELECT nano FROM spend WHERE \"window\" LIKE 'day:%'")
    assert charged == spent


def test_what_was_left_open_is_told_once(tmp_path: Path, setup: Setup, up: Scripted) -> None:
    up.on("small", stream(*FRAMES[:2], Gate()))
    key = create_key(tmp_path / "data", "team", "--budget-day", "1")
    with (
        gateway(tmp_path, setup.text(), setup.secrets) as running,
        streaming(running.address, "small", key) as response,
    ):
        assert response.read1()
        running.kill()

    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        assert "1 attempt of a killed process" in running.output.wait_for("(?s).*Try it:")[0]
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        assert "killed" not in running.output.wait_for("(?s).*Try it:")[0]


def test_what_is_old_is_forgotten_at_the_next_start(tmp_path: Path, setup: Setup) -> None:
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        assert ask(running.address, "small").status == 200
    with closing(sqlite3.connect(tmp_path / "data" / "fairlead.db")) as connection, connection:
        connection.execute("UPDATE exchange SET at_ms = at_ms - 91 * 86400000")

    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        running.output.wait_for("older than server.keep: 1 rows")
        assert rows(tmp_path / "data", "SELECT * FROM exchange") == []


def test_told_to_stop_it_lets_a_stream_finish(tmp_path: Path, setup: Setup, up: Scripted) -> None:
    gate = Gate()
    up.on("small", stream(*FRAMES[:2], gate, *FRAMES[2:]))
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        with streaming(running.address, "small") as response:
            began = response.read1()
            running.process.terminate()
            running.output.wait_for("stopping once 1 request has ended")
            refuses(running)
            gate.open()

            assert (began + response.read()).endswith(b"data: [DONE]\n\n")
        assert running.process.wait(MOST_S) == 0


def test_ctrl_c_cuts_what_still_runs(tmp_path: Path, setup: Setup, up: Scripted) -> None:
    up.on("small", stream(*FRAMES[:2], Gate()))
    with (
        gateway(tmp_path, setup.text(), setup.secrets) as running,
        streaming(running.address, "small") as response,
    ):
        response.read1()
        running.process.send_signal(signal.SIGINT)
        running.output.wait_for("Ctrl-C cuts off")
        running.process.send_signal(signal.SIGINT)

        assert running.process.wait(MOST_S) == 0
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert rows(running.data, "SELECT count(*) FROM settle") == [(1,)]


def test_ctrl_c_ends_it_without_a_word(tmp_path: Path, setup: Setup) -> None:
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        running.output.wait_for("-d .*\n")
        printed = running.output.text.rstrip()
        running.process.send_signal(signal.SIGINT)

        assert running.process.wait(MOST_S) == 0
        assert running.output.text.rstrip() == printed
        assert running.log.read_text() == ""


def test_whoever_goes_on_telling_it_to_stop_does_not_break_its_end(
    tmp_path: Path, setup: Setup
) -> None:
    with gateway(tmp_path, setup.text(), setup.secrets) as running:
        ended = False
        while not ended:
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                running.process.send_signal(each)
            with suppress(subprocess.TimeoutExpired):
                ended = running.process.wait(0.001) is not None

        assert running.process.returncode == 0


INTERRUPT = """\
import signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{}":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""


@pytest.mark.parametrize(
    ("command", "imported"), [("serve", "aiohttp"), ("demo", "fairlead.cli.demo.run")]
)
def test_ctrl_c_is_as_quiet_while_it_is_imported(
    tmp_path: Path, command: str, imported: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT.format(imported))

    ran = run(command, PYTHONPATH=str(tmp_path))

    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, "", "")


# What keeps it from starting.


def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=environment(more),
    )


def refused(*words: str) -> subprocess.CompletedProcess[str]:
    return run("serve", *words)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = refused("--data", str(tmp_path), "--listen", listen)

    assert (ran.returncode, ran.stdout) == (1, "")
    (line,) = ran.stderr.splitlines()
    assert f"{listen} is in use" in line


MISTAKES = """\
providers:
  openai: {dialekt: openai_chat}
routes:
  quick: {modles: [gpt-5-mini]}
server:
  listen: 4600
"""


def test_three_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"
    path.write_text(MISTAKES)

    ran = refused("--data", str(tmp_path), "--config", str(path))

    assert (ran.returncode, ran.stdout) == (1, "")
    for place in ("2:12", "4:11", "6:11"):
        assert f"{path}:{place}: " in ran.stderr
    assert ran.stderr.count("^") >= 3
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--listen", "0.0.0.0:0"), "keys create"),
        (("--listen", "4600"), "127.0.0.1:4600"),
        (("--config", "no/such.yaml"), "no/such.yaml: cannot be read"),
        (("--data", "/dev/null/a/b"), "records cannot be kept in /dev/null/a/b: Not a directory"),
    ],
)
def test_other_troubles_are_told_without_a_traceback(
    tmp_path: Path, words: Sequence[str], told: str
) -> None:
    ran = refused("--data", str(tmp_path), *words)

    assert ran.returncode in (1, 2)
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_database_that_is_none_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "fairlead.db").write_bytes(b"this is no database" * 1000)

    ran = refused("--data", str(tmp_path), "--listen", "127.0.0.1:0")

    assert ran.returncode == 1
    assert "not a database" in ran.stderr
    assert "Traceback" not in ran.stderr
