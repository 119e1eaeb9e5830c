"""Fairlead under test: a key with a budget, three candidates on ``auto``, everything recorded."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import answers, pinned, wait_until

PROGRAM = Path(sys.executable).parent / "fairlead"
GENEROUS_BUDGET = "$1000000"
JOURNAL = "fairlead.db"
COUNT = "select count(*) from exchange"

CONFIGURATION = """\
providers:
  up:
    address: "{address}"
    dialect: {dialect}
    api_key: {{env: BENCH_UPSTREAM_KEY}}
models:
  small: {{at: up, as: small, strength: 0.4, price: {{input: $0.10, output: $0.40}}, {limits}}}
  middle: {{at: up, as: middle, strength: 0.6, price: {{input: $0.25, output: $2}}, {limits}}}
  large: {{at: up, as: large, strength: 0.9, price: {{input: $2, output: $10}}, {limits}}}
routes:
  auto: {{weights: {{quality: 5, cost: 3, speed: 2}}}}
server: {{discover: false}}
"""
LIMITS = "context: 200k, max_output: 16k"


@dataclass
class Gateway:
    address: str
    pid: int
    key: str
    start_s: float
    """From exec to the first successful /healthz."""
    journal: Path
    booked: int = 0
    """Exchanges in the journal when the last burst had settled."""

    def recorded(self) -> int:
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            return int(journal.execute(COUNT).fetchone()[0])

    def settled(self, requests: int) -> None:
        """Wait until the journal has grown by so many requests and has come to rest. Raises
        SystemExit if it never does: what is not written down was not measured."""
        owed = self.booked + requests
        seen = [-1]

        def at_rest() -> bool:
            seen.append(self.recorded())
            return seen[-1] == seen[-2] and seen[-1] >= owed

        wait_until(at_rest, f"the journal was to hold {owed} exchanges", every_s=0.1)
        self.booked = seen[-1]


@contextmanager
def gateway(folder: Path, address: str, dialect: str, core: int) -> Iterator[Gateway]:
    config, data, log = folder / "fairlead.yaml", folder / "data", folder / "fairlead.log"
    config.write_text(CONFIGURATION.format(address=address, dialect=dialect, limits=LIMITS))
    key = create_key(data)
    command = [str(PROGRAM), "serve", "--config", str(config), "--data", str(data)]
    command += ["--listen", "127.0.0.1:0"]
    began_s = time.monotonic()
    with pinned(command, core, log, {"BENCH_UPSTREAM_KEY": "sk-upstream"}) as process:

        def listening() -> str:
            found = re.search(r"listening on (http://\S+)", log.read_text())
            return found[1] if found else ""

        wait_until(
            lambda: bool(process.poll() is not None or listening()), "fairlead was to listen"
        )
        if process.poll() is not None:
            raise SystemExit(f"bench: fairlead ended at once:\n{log.read_text()[-4000:]}")
        here = listening()
        wait_until(lambda: answers(f"{here}/healthz"), "fairlead was to be healthy")
        start_s = time.monotonic() - began_s
        yield Gateway(here, process.pid, key, start_s, data / JOURNAL)


def create_key(data: Path) -> str:
    command = [str(PROGRAM), "keys", "create", "bench", "--budget-month", GENEROUS_BUDGET]
    made = subprocess.run(
        [*command, "--data", str(data), "--json"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise SystemExit(f"bench: no key: {made.stdout}{made.stderr}")
    return str(json.loads(made.stdout)["key"])
