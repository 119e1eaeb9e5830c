"""``python -m prove.simulation SEED [--last N]``: replay a seed and show what happened."""

import argparse
import sys

from prove.simulation.many import results, shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m prove.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--last", type=int, default=1_000_000, help="only so many events")
    options = parser.parse_args()
    found = list(results([options.seed], every_kind=True))
    for result in found:
        print(shown(result, options.last))
    return 1 if any(result.broken for result in found) else 0


if __name__ == "__main__":
    sys.exit(main())
