"""A process, watched through /proc: its cores, time, memory, threads and open files."""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


@contextmanager
def pinned_here(core: int) -> Iterator[None]:
    """This process's own thread."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mib(pid: int) -> int | None:
    """Its memory at its most, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else None


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watched:
    """The most memory that a process had while it was watched."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.before_mb = self.most_mb = rss_mb(pid)

    @property
    def growth_mb(self) -> float:
        return round(self.most_mb - self.before_mb, 1)

    async def watch(self) -> None:
        while True:
            self.most_mb = max(self.most_mb, rss_mb(self._pid))
            await asyncio.sleep(0.2)
