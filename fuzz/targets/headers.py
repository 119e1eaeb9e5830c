"""A caller's headers and target: what a request asks of its route, who it says it is, where from.

A header a line, ``name: value``; a line without a colon is the target.
"""

from fairlead.dialects.wire import narrowing_from_headers
from fairlead.server.auth import credential
from fairlead.server.guard import check_browser
from fairlead.server.paths import dialect_of
from fairlead.server.target import check_host, check_target
from fairlead.types.errors import BadRequest, Forbidden, NotHttp
from fuzz.inputs import made

SEEDS = made("headers")
MAX_BYTES = 512


def check(data: bytes) -> None:
    headers, target = {}, "/"
    for line in data.decode(errors="surrogateescape").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
        else:
            target = line
    try:
        wish = narrowing_from_headers(headers)
    except BadRequest as error:
        refusal = error
        assert refusal.param
    else:
        assert wish.max_cost_nano_usd is None or wish.max_cost_nano_usd >= 0
        assert wish.deadline_s is None or wish.deadline_s > 0
        assert all(name.encode() for name in (*wish.zones, *wish.models)), "no text became a name"
    found = credential(headers)
    assert found is None or isinstance(found, str)
    dialect_of(target, headers)
    _refusing(headers, target)


def _refusing(headers: dict[str, str], target: str) -> None:
    host = headers.get("host", "")
    try:
        check_host(host)
    except NotHttp:
        pass
    else:
        assert not set(host) & set("/?#@\\ \t\r\n"), "what is no host passes for one"
    try:
        check_target(target)
    except NotHttp:
        pass
    else:
        assert target.startswith("/")
    try:
        check_browser(headers)
    except Forbidden:
        return
    origin = headers.get("origin", "").lower()
    assert not (origin.startswith(("http://", "https://")) and origin.endswith("evil.example"))
