"""One target under libFuzzer, by way of atheris, in a process of its own: it never comes back."""

import sys
from importlib import import_module

import atheris


def main() -> None:
    what = sys.argv.pop(1)
    with atheris.instrument_imports(include=["fairlead", "fuzz.targets", "yaml"]):
        target = import_module(f"fuzz.targets.{what}")
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
