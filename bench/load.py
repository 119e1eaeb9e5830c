"""One measured burst of wrk: how many requests, how much CPU time each cost the one under test."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_us

CONNECTIONS = 64
WARM_S = 1

SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer %(key)s"
wrk.body = [==[%(body)s]==]
function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%%d,"failed":%%d,"seconds":%%f,"p50_ms":%%f,"p99_ms":%%f}',
    summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Target:
    """Something to load, and the process that pays for it."""

    name: str
    url: str
    pid: int


@dataclass(frozen=True)
class Burst:
    requests: int
    us_per_request: float
    per_s: float
    p50_ms: float
    p99_ms: float


def write_script(path: Path, body: object, key: str) -> Path:
    path.write_text(SCRIPT % {"key": key, "body": json.dumps(body, separators=(",", ":"))})
    return path


def wrk(script: Path, url: str, seconds: int, core: int) -> dict[str, float]:
    """Raises SystemExit if any answer was not 2xx: a fast refusal is no result."""
    command = [
        *(shutil.which("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"),
        *("--timeout", "20s", "--latency", "-s", str(script), url),
    ]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if ran.returncode or not ran.stderr.startswith("{"):
        raise SystemExit(f"bench: wrk failed on {url}\n{ran.stdout}{ran.stderr}")
    result: dict[str, float] = json.loads(ran.stderr)
    if result["failed"] or not result["requests"]:
        raise SystemExit(f"bench: {url} did not answer all with 2xx: {result}")
    return result


def burst(
    target: Target, script: Path, seconds: int, core: int, settled: Callable[[int], None]
) -> Burst:
    """Warm up, then measure. ``settled`` waits until the books show so many more requests: what a
    gateway puts off until after the answer belongs to its cost."""
    warm = wrk(script, target.url, WARM_S, core)
    settled(int(warm["requests"]))
    before_us = cpu_us(target.pid)
    result = wrk(script, target.url, seconds, core)
    settled(int(result["requests"]))
    spent_us = cpu_us(target.pid) - before_us
    return Burst(
        requests=int(result["requests"]),
        us_per_request=spent_us / result["requests"],
        per_s=result["requests"] / result["seconds"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
    )
