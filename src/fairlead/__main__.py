"""Run as ``python -m fairlead`` or ``fairlead``."""

from fairlead.cli.main import main

if __name__ == "__main__":
    main()
