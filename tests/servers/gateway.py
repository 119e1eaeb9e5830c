"""The real ``fairlead serve``, in a process of its own on 127.0.0.1, and its other commands."""

import json
import os
import re
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
LISTENING = re.compile(r"listening on (http://\S+)")
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
"""No provider key of the developer's own may reach a test."""


@dataclass(frozen=True)
class Gateway:
    address: str
    data: Path
    log: Path
    process: subprocess.Popen[str]
    output: list[str]
    """What it printed on standard output, line by line."""

    def command(self, *words: str) -> str:
        """Run another ``fairlead`` command on the same data. Returns what it prints."""
        return fairlead(*words, "--data", str(self.data))

    def command_json(self, *words: str) -> Any:
        return json.loads(self.command(*words, "--json"))

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
    folder: Path, config: str, secrets: Mapping[str, str] | None = None, words: Sequence[str] = ()
) -> Iterator[Gateway]:
    """Serve ``config`` until the block ends. It must end at once when told, and without a trace
    of trouble in its log."""
    path, data, log = folder / "fairlead.yaml", folder / "data", folder / "fairlead.log"
    path.write_text(config)
    command = [str(PROGRAM), "serve", "--config", str(path), "--data", str(data), *words]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(secrets or {}),
        ) as process,
    ):
        output: list[str] = []
        try:
            address = _await_address(process, output, log)
            yield Gateway(address, data, log, process, output)
        except BaseException:
            process.kill()
            raise
        _end(process)
    assert process.returncode == 0, log.read_text()[-4000:]
    assert "Traceback" not in log.read_text()


def _await_address(process: subprocess.Popen[str], output: list[str], log: Path) -> str:
    """Read standard output for as long as the process lives; it must never block on a pipe."""
    assert process.stdout is not None
    known = threading.Event()

    def read(pipe: IO[str]) -> None:
        for line in pipe:
            output.append(line)
            if LISTENING.search(line):
                known.set()
        known.set()

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    known.wait(READY_S)
    for line in output:
        if found := LISTENING.search(line):
            return found[1]
    raise AssertionError(f"not listening: {''.join(output)}{log.read_text()[-4000:]}")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired as late:
        process.kill()
        raise AssertionError("did not stop within 10 s of SIGTERM") from late
