"""Find the caller's credential, wherever its dialect's clients put it."""

from collections.abc import Mapping


def credential(headers: Mapping[str, str]) -> str | None:
    """From ``authorization: Bearer``, else ``x-api-key``; some clients send both, and they agree.

    A different scheme, such as Basic, is returned whole: it will match no key and be refused.
    """
    authorization = headers.get("authorization")
    if authorization:
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else authorization
    return headers.get("x-api-key") or headers.get("x-goog-api-key")
