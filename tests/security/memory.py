"""How much memory a gateway has, and has had."""

import re
from pathlib import Path

from servers.gateway import Gateway

MIB = 1 << 20


def memory_mib(served: Gateway, line: str) -> float:
    """``VmRSS``, or ``VmHWM``: the most since it was last looked at."""
    place = Path(f"/proc/{served.process.pid}")
    told = re.search(rf"^{line}:\s+(\d+) kB", (place / "status").read_text(), re.MULTILINE)
    assert told is not None
    (place / "clear_refs").write_text("5")  # from here on the most is counted anew (proc(5))
    return int(told[1]) / 1024
