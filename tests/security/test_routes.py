"""Threats 4, 6, 13, 15 and 18: who may call what, however the address is written."""

import re
from itertools import product

import pytest

from fairlead.server.openapi import document
from fairlead.server.paths import METHODS
from servers.inprocess import Served
from servers.scripted import Scripted

OPEN = {"/", "/healthz", "/readyz", "/openapi.json"}
"""What tells nothing that a stranger may not know."""
HERE = {"/metrics"}
"""Open to this machine alone: server/test_admin.py holds it."""
CLOSED = METHODS.keys() - OPEN - HERE


def test_every_address_has_a_rule() -> None:
    """A new one is closed until somebody says otherwise here."""
    assert {path for path in METHODS if path not in CLOSED} == OPEN | HERE
    described = document()["paths"]
    with_security = {path for path in METHODS if "security" in next(iter(described[path].values()))}
    assert with_security == CLOSED | HERE


def wrong_keys(key: str) -> list[dict[str, str]]:
    other = key[:-1] + ("A" if key[-1] != "A" else "B")
    return [
        *({"authorization": value} for value in ("", "Bearer", "Bearer ", f"Basic {key}")),
        *({"authorization": f"Bearer {value}"} for value in (other, key[:-1], key + "A", key * 2)),
        {"authorization": f"Bearer {key.upper()}"},
        {"authorization": "", "x-api-key": other},
        {"authorization": "", "x-goog-api-key": other},
        {"authorization": "", "cookie": f"authorization=Bearer {key}"},
        {"authorization": "", "proxy-authorization": f"Bearer {key}"},
        {"authorization": "Bearer null", "x-forwarded-user": "admin"},
        {"authorization": "", "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"},
    ]


@pytest.mark.parametrize("path", sorted(CLOSED))
async def test_what_is_closed_opens_to_the_key_alone(
    keyed: Served, up: Scripted, path: str
) -> None:
    where = path.replace("{name}", "a")
    for sent in wrong_keys(keyed.key):
        got = await keyed.request(METHODS[path], where, b"{}", sent)
        assert (got.status, sent) == (401, sent)
    query = f"{where}?key={keyed.key}&api_key={keyed.key}&access_token={keyed.key}"
    assert (await keyed.request(METHODS[path], query, b"{}", {"authorization": ""})).status == 401
    assert (await keyed.request(METHODS[path], where, b"{}")).status in (200, 400)


DISGUISES = [
    *("/{p}", "//{p}", "/.//{p}", "/x/../{p}", "/%2e%2e/{p}", "/..;/{p}", "/;/{p}", "/{p}/"),
    *("/{p};x=1", "/{p}%00", "/{p}%20", "/{p}.json", "/{p}%2f", "/{p}/.", "/{p}%3f", "/{p}#"),
    *("/healthz/../{p}", "/healthz;/../{p}", "/healthz%2f..%2f{p}", "/healthz?/../{p}"),
    *("http://127.0.0.1/{p}", "http://evil.example/{p}", "/{q}", "/{u}", "\\{p}", "/\\{p}"),
]


def disguised(form: str, path: str) -> str:
    bare = path.lstrip("/").replace("{name}", "a")
    encoded = "".join(f"%{ord(char):02x}" for char in bare)
    return form.format(p=bare, q=encoded, u=bare.upper())


@pytest.mark.parametrize("form", DISGUISES)
async def test_no_way_to_write_an_address_leads_past_its_key(
    keyed: Served, up: Scripted, form: str
) -> None:
    for path, host in product(
        sorted(CLOSED), ("127.0.0.1", "localhost:1/#@x", "127.0.0.1/healthz")
    ):
        head = f"{METHODS[path]} {disguised(form, path)} HTTP/1.1\r\nhost: {host}\r\n"
        got = await keyed.raw(f"{head}connection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        status = int(got.split(b" ", 2)[1])
        ok = form.startswith("/healthz?") and host == "127.0.0.1"
        assert status in (400, 401, 404, 405) or (ok and status == 200)
        assert b'"data"' not in got
        assert got.count(b"HTTP/1.") == 1
    assert [seen for model in "ame" for seen in up.asked(model)] == []


STEPS = ["..", "%2e%2e", "%252e%252e", "..%00", "%c0%ae%c0%ae", "..;", ".%2e", "%uff0e%uff0e"]
SLASHES = ["/", "%2f", "%5c", "%252f", "\\", "%c0%af", "//"]


async def test_no_path_leads_to_a_file(served: Served) -> None:
    """There are no files to serve: every spelling is an address that is not there."""
    for step, slash in product(STEPS, SLASHES):
        for before, target in product(("/", "/static/", "/v1/models/"), ("etc/passwd", "pepper")):
            path = before + slash.join([step] * 6 + [target])
            line = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
            got = await served.raw(line.encode())
            assert got[8:13] in (b" 404 ", b" 400 "), path
            assert b"root:" not in got


@pytest.mark.parametrize("path", METHODS)
async def test_there_is_no_session_to_ride(keyed: Served, path: str) -> None:
    """No cookie is set or read, and no page of another site is let in by an answer's headers."""
    for origin in ("https://evil.example", "null"):
        where = path.replace("{name}", "a")
        got = await keyed.request(METHODS[path], where, b"{}", {"origin": origin})
        assert not {"set-cookie", "access-control-allow-origin"} & got.headers.keys()
        assert "text/html" not in got.headers["content-type"]


def test_no_address_takes_the_id_of_another_callers_thing() -> None:
    assert [path for path in METHODS if re.search(r"\{|:id", path)] == ["/v1/models/{name}"]
