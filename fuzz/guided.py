"""One target under libFuzzer, by way of atheris, in a process of its own: it never comes back."""

import sys
from collections.abc import Callable
from importlib import import_module
from time import perf_counter, thread_time

import atheris

SLOW_S = 0.1
"""An input that takes longer, each time it is tried, is reported like a crash."""
TRIES = 5
"""And by the clock of its own thread: another program may have the core meanwhile."""


def timed(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Every input is timed, instrumented as it is; the slowest so far is told of."""
    slowest_s = SLOW_S / 10

    def check_in_time(data: bytes) -> None:
        nonlocal slowest_s
        began_s = perf_counter()
        check(data)
        if perf_counter() - began_s > slowest_s:
            best_s = _at_best_s(check, data)
            if best_s > slowest_s:
                slowest_s = best_s
                sys.stderr.write(f"slowest: {slowest_s * 1000:.1f} ms\n")
            assert best_s <= SLOW_S, f"{best_s:.3f} s for {len(data)} bytes"

    return check_in_time


def _at_best_s(check: Callable[[bytes], None], data: bytes) -> float:
    took_s = []
    for _ in range(TRIES):
        began_s = thread_time()
        check(data)
        took_s.append(thread_time() - began_s)
    return min(took_s)


def main() -> None:
    what = sys.argv.pop(1)
    with atheris.instrument_imports(include=["fairlead"]):
        target = import_module(f"fuzz.targets.{what}")
    atheris.Setup(sys.argv, timed(target.check))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
