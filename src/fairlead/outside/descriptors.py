"""How many files this process may have open. Each connection is one."""

import resource

ENOUGH = 65_536


def raised() -> int:
    """As many as the system lets us have, and we need. The usual 1,024 are for programs that wait
    with ``select``, which can count no further; we are none (systemd says the same of it)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft  # a sandbox forbids it, or the system has a limit of its own beside these
    return wanted
