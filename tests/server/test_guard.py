"""Which pages may call a gateway that asks for no key."""

import pytest

from fairlead.server.guard import check_browser
from fairlead.types.errors import Forbidden

HERE = "127.0.0.1:4600"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HERE, None),
        ("localhost:4600", None),
        ("[::1]:4600", None),
        ("127.0.0.1", None),
        ("app.localhost:4600", None),
        (HERE, "http://localhost:3000"),
        (HERE, "https://127.0.0.1"),
        (HERE, "http://[::1]:8080"),
        (HERE, "vscode-webview://0a1b"),
        (HERE, "app://notes.example"),
    ],
)
def test_this_machine_may_call(host: str, origin: str | None) -> None:
    check_browser({"host": host} | ({"origin": origin} if origin else {}))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HERE, "https://example.com"),
        (HERE, "HTTPS://example.com"),
        (HERE, "http://127.0.0.1.example.com"),
        (HERE, "http://localhost.example.com"),
        (HERE, "http://10.0.0.7"),
        (HERE, "null"),
        (HERE, "http://[broken"),
    ],
)
def test_a_page_of_another_site_may_not(host: str, origin: str) -> None:
    with pytest.raises(Forbidden, match="pages of other sites"):
        check_browser({"host": host, "origin": origin})


@pytest.mark.parametrize(
    "host", ["evil.example.com:4600", "192.168.0.9:4600", "", "[broken", "127.0.0.1.example.com"]
)
def test_a_name_that_was_pointed_here_is_not_ours(host: str) -> None:
    with pytest.raises(Forbidden, match=r"localhost and 127\.0\.0\.1 only"):
        check_browser({"host": host})
