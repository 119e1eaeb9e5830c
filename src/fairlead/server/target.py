"""Whether a request's ``host`` and target are such as a server may be asked. Pure.

A front server that reads ``localhost:4000/#@x`` another way than we do can be led past its own
rules, so what is not plainly a host with a port is refused (RFC 9112 section 3.2).
"""

import re

from fairlead.types.errors import NotHttp

HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?", re.ASCII)
MAX_PORT = 65_535


def check_host(host: str) -> None:
    """Raises NotHttp."""
    found = HOST.fullmatch(host)
    if found is None or int(found[1] or 0) > MAX_PORT:
        raise NotHttp("the host header is no host", param="host")


def check_target(target: str) -> None:
    """Raises NotHttp for what is not an address of ours: we are nobody's proxy, and a fragment
    is never sent."""
    if not target.startswith("/") or "#" in target:
        raise NotHttp("the request's target is to be a path, such as /v1/models")
