"""How a credential is presented to an endpoint, and where it is read. The only file that ever
holds one: what leaves here is headers, and no message tells more than a credential's id."""

import os
import stat
from collections.abc import Callable, Mapping

from fairlead.types.catalog import Endpoint, Secret
from fairlead.types.errors import Failure, UpstreamError

LOOK_AGAIN_S = 2.0
"""How long a credential from a file is used before the file is read again: rotation needs no
restart, and a request costs no more than a look at the clock."""

MAX_SECRET_BYTES = 16 << 10

SIGNERS: Mapping[str, Callable[[str], Mapping[str, str]]] = {
    "none": lambda text: {},
    "bearer": lambda text: {"authorization": f"Bearer {text}"},  # RFC 6750, section 2.1
    "x-api-key": lambda text: {"x-api-key": text},  # docs.anthropic.com/en/api/overview
}


class Signers:
    """Headers by signer and secret, made once and kept. One per process."""

    def __init__(self, env: Mapping[str, str], clock: Callable[[], float]) -> None:
        """``clock`` is monotonic, in seconds."""
        self._env = env
        self._clock = clock
        self._presented: dict[tuple[str, Secret], _Presented] = {}

    def sign(self, endpoint: Endpoint, secret: Secret | None) -> Mapping[str, str]:
        """Headers that present ``secret`` as ``endpoint`` expects it. Raises UpstreamError
        (CREDENTIAL) when it is not there or no header can hold it."""
        if endpoint.signer == "none":
            return {}
        if secret is None:
            raise UpstreamError(Failure.CREDENTIAL, "no credential was given")
        presented = self._presented.get((endpoint.signer, secret))
        if presented is not None and (not secret.file or self._clock() < presented.until_s):
            return presented.headers
        headers = SIGNERS[endpoint.signer](self._text(secret))
        # As many as the configuration names, so nothing is ever thrown out.
        self._presented[endpoint.signer, secret] = _Presented(headers, self._clock())
        return headers

    def _text(self, secret: Secret) -> str:
        text = _read(secret) if secret.file else self._env.get(secret.env, "")
        text = text.strip()  # files end in a newline, and variables are filled from files
        if not text:
            raise _unusable(secret, "is empty or not set")
        # RFC 9110, section 5.5, without the bytes that it calls obsolete.
        if not (text.isascii() and text.isprintable()):
            raise _unusable(secret, "holds characters that no header can carry")
        if len(text) > MAX_SECRET_BYTES:
            raise _unusable(secret, f"is larger than {MAX_SECRET_BYTES} bytes")
        return text


class _Presented:
    """Not a Struct: those show their fields when they are printed."""

    __slots__ = ("headers", "until_s")

    def __init__(self, headers: Mapping[str, str], now_s: float) -> None:
        self.headers = headers
        self.until_s = now_s + LOOK_AGAIN_S


def _read(secret: Secret) -> str:
    """A file's text, at most a little more than is allowed. Decoded so that no byte can fail: an
    error of decoding would carry the secret."""
    try:
        with open(secret.file, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _unusable(secret, "is not a regular file")
            return file.read(MAX_SECRET_BYTES + 1).decode("latin-1")
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise _unusable(secret, "cannot be read") from error


def _at_once(path: str, flags: int) -> int:
    """To open a pipe that nobody writes to would otherwise wait for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unusable(secret: Secret, why: str) -> UpstreamError:
    return UpstreamError(Failure.CREDENTIAL, f"the credential {secret.id} {why}")
