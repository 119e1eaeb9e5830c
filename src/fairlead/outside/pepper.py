"""The secret that key digests are made with, in a file of its own. Knows no keys."""

import os
import secrets
from pathlib import Path

from fairlead.types.errors import OurError

PEPPER_BYTES = 32


def load(path: Path, *, in_use: bool = False) -> bytes:
    """Read the pepper, or make one on first use, in a file that only its owner may read.

    ``in_use``: there are keys in force, which were made with it. Raises OurError when it is gone
    then, when others may read it, or when it is damaged: with another pepper every key would be
    unknown.
    """
    if not path.exists():
        if in_use:
            raise OurError(
                f"{path} is missing, and without it no key can be recognised: put it back from a"
                " backup, or revoke every key with `fairlead keys revoke` and make new ones"
            )
        _make(path)
    if path.stat().st_mode & 0o077:
        raise OurError(f"{path} may be read by others: chmod 600 it")
    pepper = path.read_bytes()
    if len(pepper) != PEPPER_BYTES:
        raise OurError(f"{path} is damaged: {len(pepper)} bytes instead of {PEPPER_BYTES}")
    return pepper


def _make(path: Path) -> None:
    """Write aside, then link: of two processes one wins, and neither reads half a file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(PEPPER_BYTES))
        os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its pepper counts
    finally:
        os.close(descriptor)
        draft.unlink()
