"""``python -m fuzz WHAT [--seconds 60] [--runs N]``: guided by coverage, for as long as one likes.

What is found new is kept in .cache/fuzz/WHAT and is where the next run starts. What crashes is
written to .cache/fuzz/crashes: put it into fuzz/seeds/WHAT once it is mended, and the tests try it
for ever. The last line of standard output is one JSON object.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from fuzz import targets
from fuzz.inputs import ROOT

KNOWN = sorted(module.name for module in iter_modules(targets.__path__))
HANGS_S = 100
"""Never to end is a crash as well; what is merely slow is found before, see guided. Long, as a busy
machine may let it wait."""
MAX_BYTES = 4096


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("what", choices=KNOWN, metavar="WHAT", help=str(KNOWN))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="no more executions than these")
    options = parser.parse_args()
    corpus = ROOT / ".cache" / "fuzz" / options.what
    corpus.mkdir(parents=True, exist_ok=True)
    target = import_module(f"fuzz.targets.{options.what}")
    for number, seed in enumerate(target.SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    crashes = corpus.parent / "crashes"
    crashes.mkdir(exist_ok=True)
    before = _crashes(crashes, options.what)
    began_s = time.monotonic()
    command = [
        *(sys.executable, "-m", "fuzz.guided", options.what, str(corpus)),
        *(f"-max_total_time={options.seconds}", f"-timeout={HANGS_S}", "-print_final_stats=1"),
        f"-runs={options.runs}",
        f"-report_slow_units={HANGS_S}",
        f"-artifact_prefix={crashes}/{options.what}-",
        f"-max_len={getattr(target, 'MAX_BYTES', MAX_BYTES)}",
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            sys.stderr.write(line)
    text = "".join(told)
    found = {
        "target": options.what,
        "executions": _figure("number_of_executed_units", text),
        "slowest_ms": max(map(float, re.findall(r"^slowest: ([\d.]+) ms$", text, re.M)), default=0),
        "new_inputs": _figure("new_units_added", text),
        "crashes": sorted(_crashes(crashes, options.what) - before),
        "seconds": round(time.monotonic() - began_s, 1),
        "ok": process.returncode == 0,
    }
    print(json.dumps(found))
    return 0 if found["ok"] else 1


def _figure(name: str, text: str) -> int:
    match = re.search(rf"stat::{name}:\s*(\d+)", text)
    return int(match[1]) if match else 0


def _crashes(folder: Path, what: str) -> set[str]:
    """Another target may be tried beside this one."""
    return {path.name for path in folder.glob(f"{what}-*")}


if __name__ == "__main__":
    sys.exit(main())
