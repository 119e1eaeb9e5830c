"""``python -m bench [--json] [--rounds 3] [--seconds 6]``: cases, rounds, medians, bars."""

import argparse
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import floor, load, tools
from bench.check import check_answer
from bench.gateway import gateway
from bench.processes import rss_mb

UNDER_TEST, THE_REST = 0, 1
"""Cores."""

PROMPT = "Please summarise the following log line and tell me what went wrong in the service. " * 8


@dataclass(frozen=True)
class Case:
    name: str
    dialect: str
    """Of the provider; the caller always speaks OpenAI's."""
    base: str
    """Of the provider's address, after the upstream's."""
    floor_path: str
    stream: bool


CASES = (
    Case("unary", "openai_chat", "/unary/v1", "/unary/v1/chat/completions", False),
    Case("stream", "openai_chat", "/stream/v1", "/stream/v1/chat/completions", True),
    Case("cross_stream", "anthropic_messages", "/cross/v1", "/cross/v1/messages", True),
)

BARS = {
    "unary ratio": 20.0,
    "stream ratio": 4.0,
    "cross_stream ratio": 6.0,
    "rss_mb": 150.0,
    "start_s": 1.5,
}


@dataclass
class Bench:
    folder: Path
    rounds: int
    seconds: int
    upstream: str
    """Address of the fast upstream."""
    proxy: load.Target
    say: Callable[[str], None]

    def run(self, case: Case) -> tuple[dict[str, float], float, float]:
        """The case's figures, the gateway's memory after it in MB, and its start in seconds."""
        folder = self.folder / case.name
        folder.mkdir()
        with gateway(folder, self.upstream + case.base, case.dialect, UNDER_TEST) as ours:
            script = load.write_script(folder / "load.lua", body(case), ours.key)
            path = "/v1/chat/completions"
            check_answer(ours.address + path, body(case), ours.key, case.stream)
            ours.settled(1)
            us = load.Target("fairlead", ours.address + path, ours.pid)
            nginx = load.Target("nginx", self.proxy.url + case.floor_path, self.proxy.pid)
            spent: dict[str, list[float]] = {"nginx": [], "fairlead": []}
            for number in range(self.rounds):
                for target in (nginx, us):
                    settled = ours.settled if target is us else ignore
                    burst = load.burst(target, script, self.seconds, THE_REST, settled)
                    spent[target.name].append(burst.us_per_request)
                    self.say(
                        f"{case.name:13} round {number + 1}  {target.name:9}"
                        f"{burst.us_per_request:9.1f} us  {burst.per_s:8.0f}/s"
                        f"  p50 {burst.p50_ms:6.1f} ms  p99 {burst.p99_ms:6.1f} ms"
                    )
            memory_mb = rss_mb(ours.pid)
        floor_us, ours_us = (statistics.median(spent[name]) for name in ("nginx", "fairlead"))
        figures = {
            "nginx_us": round(floor_us, 1),
            "fairlead_us": round(ours_us, 1),
            "ratio": round(ours_us / floor_us, 2),
        }
        return figures, memory_mb, ours.start_s


def ignore(_: int) -> None:
    pass


def body(case: Case) -> dict[str, object]:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": PROMPT},
    ]
    asked: dict[str, object] = {"model": "auto", "messages": messages, "max_tokens": 128}
    return asked | ({"stream": True} if case.stream else {"temperature": 0.2})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def measure(rounds: int, seconds: int, say: Callable[[str], None]) -> dict[str, object]:
    results: dict[str, object] = {}
    memory_mb: list[float] = []
    starts_s: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlead-bench-")))
        ports = free_port(), free_port()
        upstream = floor.upstream_configuration(folder, ports[0])
        proxy = floor.proxy_configuration(folder, ports[1], ports[0])
        stack.enter_context(floor.nginx(folder, "upstream", upstream, ports[0], THE_REST))
        pid = stack.enter_context(floor.nginx(folder, "proxy", proxy, ports[1], UNDER_TEST))
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        target = load.Target("nginx", addresses[1], pid)
        bench = Bench(folder, rounds, seconds, addresses[0], target, say)
        for case in CASES:
            results[case.name], case_memory_mb, start_s = bench.run(case)
            memory_mb.append(case_memory_mb)
            starts_s.append(start_s)
    results["rss_mb"] = round(max(memory_mb), 1)
    results["start_s"] = round(statistics.median(starts_s), 2)
    return results


def verdicts(results: dict[str, object]) -> list[tuple[str, float, float, bool]]:
    """What was measured against each bar: name, figure, bar, whether it holds."""
    rows = []
    for name, bar in BARS.items():
        key, _, part = name.partition(" ")
        value = results[key]
        figure = float(value[part] if isinstance(value, dict) else str(value))
        rows.append((name, figure, bar, figure <= bar))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of each measured burst")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools.provide()
    os.sched_setaffinity(0, {THE_REST})

    results = measure(
        options.rounds, options.seconds, lambda line: print(line, file=sys.stderr, flush=True)
    )
    if options.json:
        print(json.dumps(results))
        return 0
    for case in CASES:
        print(case.name, results[case.name])
    rows = verdicts(results)
    print(f"\n{'':20}{'measured':>10}{'bar':>8}")
    for name, figure, bar, holds in rows:
        print(f"{name:20}{figure:10.2f}{bar:8.1f}  {'pass' if holds else 'FAIL'}")
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
