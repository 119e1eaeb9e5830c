"""How a credential is presented to an endpoint. The only file that ever keeps one: what leaves
here is headers, and no message tells more than a credential's id."""

from collections.abc import Callable, Mapping

from fairlead.outside.secret_files import flaw, read_secret
from fairlead.types.catalog import Endpoint, Secret
from fairlead.types.errors import Failure, UpstreamError

LOOK_AGAIN_S = 2.0
"""How long a credential from a file is used before the file is read again: rotation needs no
restart, and a request costs no more than a look at the clock."""

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
        # Files end in a newline, and variables are filled from files.
        text = _read(secret) if secret.file else self._env.get(secret.env, "").strip()
        if not text:
            raise _unusable(secret, "is empty or not set")
        if why := flaw(text):
            raise _unusable(secret, why)
        return text


class _Presented:
    """Not a Struct: those show their fields when they are printed."""

    __slots__ = ("headers", "until_s")

    def __init__(self, headers: Mapping[str, str], now_s: float) -> None:
        self.headers = headers
        self.until_s = now_s + LOOK_AGAIN_S


def _read(secret: Secret) -> str:
    try:
        return read_secret(secret.file)
    except OSError as error:
        raise _unusable(secret, "cannot be read") from error


def _unusable(secret: Secret, why: str) -> UpstreamError:
    return UpstreamError(Failure.CREDENTIAL, f"the credential {secret.id} {why}")
