"""The real ``fairlead serve``, in a process of its own on 127.0.0.1, and its other commands."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PROGRAM = Path(sys.executable).parent / "fairlead"
READY_S = 20.0
TAKE_OVER = "--take-over"
LISTENING = r"listening on (http://\S+)"
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
"""No provider key of the developer's own may reach a test."""


class Output:
    """What a process prints on standard output, read for as long as it lives: it must never block
    on a pipe."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: list[str] = []
        self._grown = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    @property
    def text(self) -> str:
        with self._grown:
            return "".join(self._lines)

    def wait_for(self, pattern: str, within_s: float = READY_S) -> re.Match[str]:
        """The first place that fits, once there is one. Raises AssertionError."""
        with self._grown:
            self._grown.wait_for(lambda: self._ended or self._found(pattern), within_s)
            found = self._found(pattern)
        assert found, f"did not print {pattern}: {self.text}"
        return found

    def _found(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, "".join(self._lines))

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            with self._grown:
                self._lines.append(line)
                self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()


@dataclass(frozen=True)
class Gateway:
    address: str
    config: Path
    data: Path
    log: Path
    process: subprocess.Popen[str]
    output: Output

    def command(self, *words: str) -> str:
        """Run another ``fairlead`` command on the same data. Returns what it prints."""
        return fairlead(*words, "--data", str(self.data))

    def command_json(self, *words: str) -> Any:
        return json.loads(self.command(*words, "--json"))

    def kill(self) -> None:
        """As a machine that loses its power does."""
        self.process.kill()
        self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far; a line that is not JSON fails the test, unless it is still written."""
        written = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in written.splitlines() if line]


def environment(secrets: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "PYTHONUNBUFFERED": "1", **secrets}


def fairlead(*words: str, secrets: Mapping[str, str] | None = None) -> str:
    """Raises AssertionError with all it said if it does not succeed."""
    ran = subprocess.run(
        [str(PROGRAM), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=environment(secrets or {}),
    )
    assert ran.returncode == 0, f"fairlead {' '.join(words)}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def create_key(data: Path, name: str, *options: str) -> str:
    made = fairlead("keys", "create", name, *options, "--data", str(data), "--json")
    return str(json.loads(made)["key"])


@contextmanager
def gateway(
    folder: Path,
    config: str | None,
    secrets: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
) -> Iterator[Gateway]:
    """Serve ``config`` until the block ends; None: with what is found, from a folder without one.
    Unless it was killed it must end at once when told, and without a trace of trouble in its
    log."""
    path, data, log = folder / "fairlead.yaml", folder / "data", folder / "fairlead.log"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    command = [str(PROGRAM), "serve", "--data", str(data), *words]
    if config is not None:
        if not (path.exists() and path.read_text() == config):
            path.write_text(config)
        command += ["--config", str(path)]
    with (
        log.open("a" if TAKE_OVER in words else "w") as errors,
        subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=elsewhere,
            env=environment(secrets or {}),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            output = Output(process.stdout)
            address = _address(output, log)
            yield Gateway(address, path, data, log, process, output)
        except BaseException:
            process.kill()
            raise
        if process.returncode != -signal.SIGKILL:
            _end(process)
            assert process.returncode == 0, log.read_text()[-4000:]
    _, trace, rest = log.read_text().partition("Traceback")
    assert not trace, rest[:4000]


def _address(output: Output, log: Path) -> str:
    try:
        return str(output.wait_for(LISTENING)[1])
    except AssertionError as silent:
        raise AssertionError(f"{silent}{log.read_text()[-4000:]}") from None


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired as late:
        process.kill()
        raise AssertionError("did not stop within 10 s of SIGTERM") from late
