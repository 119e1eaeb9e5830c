"""Keeps web pages away from a gateway that asks for no key. Pure: looks at two headers.

A page of any site can make a browser send requests to 127.0.0.1, and spend money that way. Two
things give it away: the ``origin`` that browsers add to it (RFC 6454), and, where the site's own
name was pointed at this machine (DNS rebinding), the ``host`` that was asked for.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from fairlead.types.errors import Forbidden

WEB = ("http", "https")


def check_browser(headers: Mapping[str, str]) -> None:
    """For requests without a key. Raises Forbidden."""
    origin = headers.get("origin")
    if origin is not None and _is_foreign(origin):
        raise Forbidden("pages of other sites may not call this gateway; make a key to allow it")
    host = headers.get("host", "")
    if not _is_here(_name(f"//{host}")):
        raise Forbidden("without keys this gateway answers to localhost and 127.0.0.1 only")


def _is_foreign(origin: str) -> bool:
    """``null`` is what a page in a sandbox sends. Editors and other programs of this machine have
    schemes of their own (``vscode-webview:``, ``app:``), which no site can take."""
    scheme, found, _ = origin.partition("://")
    if not found:
        return True
    return scheme.lower() in WEB and not _is_here(_name(origin))


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_here(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
