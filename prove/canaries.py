"""Secrets that are planted before a run and looked for after it, wherever something is kept."""

import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote


def planted() -> str:
    """Like no vendor's key, so that no pattern can find it; and URL-encoding changes it."""
    return f"{secrets.token_urlsafe(9)}+/{secrets.token_urlsafe(15)}"


def forms(secret: str) -> set[bytes]:
    """As it is, URL-encoded, in base64 wherever it begins in what was encoded, and its ends."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode(), raw[:8], raw[-8:]}
    for shift in range(3):
        # The first and the last digits of base64 depend on what stands around.
        whole = len(raw) - (len(raw) + shift) % 3
        for encode in (b64encode, urlsafe_b64encode):
            found.add(encode(b"\0" * shift + raw[:whole])[4 * bool(shift) :])
    return found


def hits(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> list[str]:
    """Which secret stands where, one line each."""
    return list(_hits(secrets, places))


def _hits(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> Iterator[str]:
    for name, secret in secrets.items():
        wanted = forms(secret)
        for where, data in places.items():
            if any(form in data for form in wanted):
                yield f"{name} in {where}"
