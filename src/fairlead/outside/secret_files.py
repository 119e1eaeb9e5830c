"""How the file of a credential is read: without waiting, and only so far. Keeps nothing."""

import os
import stat
from errno import EINVAL

MAX_SECRET_BYTES = 16 << 10


def read_secret(path: str) -> str:
    """A file's text without white space around it, at most a little more than is allowed: for
    ``flaw`` to find. Decoded so that no byte can fail: an error of decoding would carry the secret.

    Raises OSError, also for what is not a regular file.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(EINVAL, "not a regular file", path)
            text = file.read(MAX_SECRET_BYTES + 1).decode("latin-1")
    except ValueError as error:  # a path with a NUL
        raise OSError(EINVAL, "not a path", path) from error
    return text.strip()


def flaw(text: str) -> str:
    """Why no header can hold this credential, or nothing. Never tells the credential."""
    # RFC 9110, section 5.5, without the bytes that it calls obsolete.
    if not (text.isascii() and text.isprintable()):
        return "holds characters that no header can carry"
    if len(text) > MAX_SECRET_BYTES:
        return f"is larger than {MAX_SECRET_BYTES} bytes"
    return ""


def _at_once(path: str, flags: int) -> int:
    """To open a pipe that nobody writes to would otherwise wait for ever."""
    return os.open(path, flags | os.O_NONBLOCK)
