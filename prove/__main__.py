"""``python -m prove [WHAT ...] [--short] [--json]``: run proofs, say what they found.

A proof is a module ``prove/proofs/WHAT.py`` with ``prove(short: bool) -> dict[str, object]``: its
figures, and ``"ok"``. Progress goes to standard error. With ``--json`` the last line of standard
output is the object; without, the table in docs/proofs.md is written anew from the runs.
"""

import argparse
import json
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from prove import proofs
from prove.table import write_table

DOCUMENT = Path(__file__).parents[1] / "docs" / "proofs.md"
KNOWN = sorted(module.name for module in iter_modules(proofs.__path__))


def run(what: str, short: bool) -> dict[str, object]:
    began_s = time.monotonic()
    found: dict[str, object] = import_module(f"prove.proofs.{what}").prove(short)
    return {"proof": what, **found, "seconds": round(time.monotonic() - began_s, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m prove", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*KNOWN, []], metavar="WHAT", help=str(KNOWN))
    parser.add_argument("--short", action="store_true", help="the form that make test runs")
    parser.add_argument("--json", action="store_true", help="one object a line, last on stdout")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = []
    for what in options.what or KNOWN:
        results.append(run(what, options.short))
        print(json.dumps(results[-1]), flush=True)
    if not options.json and not options.short:
        write_table(DOCUMENT, results)
    return 0 if all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
