"""Run as ``python -m fairlead`` or ``fairlead``."""

import signal

# While the rest is imported, Ctrl-C ends us without a traceback.
interrupted = signal.signal(signal.SIGINT, signal.SIG_DFL)

from fairlead.cli.main import main  # noqa: E402

signal.signal(signal.SIGINT, interrupted)

if __name__ == "__main__":
    main()
