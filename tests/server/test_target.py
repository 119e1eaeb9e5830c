"""What is a host, and what is an address of ours."""

import pytest

from fairlead.server.target import check_host, check_target
from fairlead.types.errors import NotHttp


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "127.0.0.1:4600", "[::1]", "[::1]:4600", "[::ffff:127.0.0.1]"),
        *("gateway.example.com", "gateway_1:80", "GATEWAY", "a-b.c.", "localhost:", "x:65535"),
    ],
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", ":4600", "a b", "a/b", "a#b", "a?b", "a@b", "a,b", "a:b", "a:1:2", "a:65536"),
        *("a\\b", "a%2eb", "[::1", "::1", "[g::1]", "[::1]x", "http://a", "é", "a\n", "a:１"),
    ],
)
def test_all_else_is_none(host: str) -> None:
    with pytest.raises(NotHttp):
        check_host(host)


@pytest.mark.parametrize(
    ("target", "good"),
    [
        *(("/", True), ("/v1/models", True), ("/v1/messages?beta=true", True), ("//x", True)),
        *(("", False), ("*", False), ("v1", False), ("http://x/v1", False), ("/v1#x", False)),
        ("example.com:443", False),
    ],
)
def test_a_target_is_a_path(target: str, good: bool) -> None:
    if good:
        check_target(target)
    else:
        with pytest.raises(NotHttp):
            check_target(target)
