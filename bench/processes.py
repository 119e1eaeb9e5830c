"""Processes that are pinned to a core, watched through /proc and always ended."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
READY_S = 20.0


def tree(pid: int) -> list[int]:
    """A process and all that descends from it."""
    pids = [pid]
    for at in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{at}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_us(pid: int) -> float:
    """User plus system time of all threads of the tree, in microseconds."""
    total = 0
    for each in tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S * 1e6


def rss_mb(pid: int) -> float:
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def pinned(
    command: Sequence[str],
    core: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command on one core until the block ends; its output goes to ``log``."""
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until(holds: Callable[[], bool], what: str, every_s: float = 0.005) -> None:
    """Raises SystemExit: a bench that cannot start says so."""
    end_s = time.monotonic() + READY_S
    while not holds():
        if time.monotonic() > end_s:
            raise SystemExit(f"bench: {what} within {READY_S:.0f} s, gave up")
        time.sleep(every_s)
