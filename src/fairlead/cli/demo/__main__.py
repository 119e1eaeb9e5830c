"""``fairlead demo``: a process of its own, because it needs the vendors' SDKs and the server must
not spend its start on importing them."""

import signal

# While all that is imported, Ctrl-C ends us without a traceback.
interrupted = signal.signal(signal.SIGINT, signal.SIG_DFL)

from fairlead.cli.demo.command import program  # noqa: E402

signal.signal(signal.SIGINT, interrupted)

if __name__ == "__main__":
    program(prog_name="fairlead demo")
