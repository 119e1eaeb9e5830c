"""Credentials: presented as each vendor expects, read where they are, told to nobody."""

import os
import traceback
from pathlib import Path

import pytest

from fairlead.outside.config.kinds import SIGNERS as NAMES
from fairlead.outside.secret_files import MAX_SECRET_BYTES
from fairlead.outside.signers import LOOK_AGAIN_S, SIGNERS, Signers
from fairlead.types.catalog import Endpoint, Model, Secret
from fairlead.types.errors import Failure, UpstreamError

KEY = Secret(id="env:KEY", env="KEY")


class Clock:
    """Time in the test's hands."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def endpoint(signer: str) -> Endpoint:
    return Endpoint(
        name="p/m",
        provider="p",
        model=Model("m"),
        upstream_model="m",
        dialect="openai_chat",
        base_url="http://127.0.0.1/v1",
        signer=signer,
    )


BEARER = endpoint("bearer")


def in_file(path: Path) -> Secret:
    return Secret(id=f"file:{path}", file=str(path))


def test_every_name_that_a_configuration_may_use_is_here() -> None:
    assert set(SIGNERS) == set(NAMES)


@pytest.mark.parametrize(
    ("signer", "headers"),
    [
        ("none", {}),
        ("bearer", {"authorization": "Bearer k-1"}),
        ("x-api-key", {"x-api-key": "k-1"}),
    ],
)
def test_each_signer_in_its_header(signer: str, headers: dict[str, str], clock: Clock) -> None:
    signers = Signers({"KEY": "k-1"}, clock)

    assert signers.sign(endpoint(signer), KEY) == headers
    assert signers.sign(endpoint(signer), KEY) == headers


def test_two_signers_do_not_share_headers(clock: Clock) -> None:
    signers = Signers({"KEY": "k-1"}, clock)

    signers.sign(BEARER, KEY)

    assert signers.sign(endpoint("x-api-key"), KEY) == {"x-api-key": "k-1"}


def test_an_open_endpoint_needs_no_credential(clock: Clock) -> None:
    assert Signers({}, clock).sign(endpoint("none"), None) == {}


def test_nothing_is_asked_without_the_credential_it_needs(clock: Clock) -> None:
    with pytest.raises(UpstreamError) as refused:
        Signers({}, clock).sign(BEARER, None)

    assert refused.value.failure is Failure.CREDENTIAL


@pytest.mark.parametrize("text", ["k-1", "k-1\n", "  k-1\r\n", "\tk-1"])
def test_white_space_around_it_is_no_part_of_it(text: str, tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "key"
    path.write_bytes(text.encode())
    signers = Signers({"KEY": text}, clock)

    assert signers.sign(BEARER, KEY) == {"authorization": "Bearer k-1"}
    assert signers.sign(BEARER, in_file(path)) == {"authorization": "Bearer k-1"}


def test_a_changed_file_is_seen_when_its_time_is_up(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    signers, secret = Signers({}, clock), in_file(path)
    signers.sign(BEARER, secret)
    path.write_text("new")  # as long as the old one, and perhaps as old

    clock.now_s += LOOK_AGAIN_S * 0.9
    before = signers.sign(BEARER, secret)
    clock.now_s += LOOK_AGAIN_S * 0.2
    after = signers.sign(BEARER, secret)

    assert before == {"authorization": "Bearer old"}
    assert after == {"authorization": "Bearer new"}


def test_a_file_that_went_is_used_no_longer_and_comes_back(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "key"
    path.write_text("k-1")
    signers, secret = Signers({}, clock), in_file(path)
    signers.sign(BEARER, secret)

    path.unlink()
    clock.now_s += LOOK_AGAIN_S
    with pytest.raises(UpstreamError):
        signers.sign(BEARER, secret)
    path.write_text("k-2")

    assert signers.sign(BEARER, secret) == {"authorization": "Bearer k-2"}


def test_a_swapped_link_is_followed(tmp_path: Path, clock: Clock) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "key"
    link.symlink_to("one")
    signers, secret = Signers({}, clock), in_file(link)
    signers.sign(BEARER, secret)

    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    clock.now_s += LOOK_AGAIN_S

    assert signers.sign(BEARER, secret) == {"authorization": "Bearer two"}


UNUSABLE = {
    "nothing": b"",
    "white space": b" \n",
    "two lines": b"hush-1\nx-evil: 1",
    "a return within": b"hush-1\rhush-2",
    "a NUL": b"hush-1\0hush-2",
    "not ASCII": "hush-\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    "no text at all": b"hush-\xff\xfe",
    "too large": b"hush-" * MAX_SECRET_BYTES,
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE)
def test_what_no_header_can_hold_is_a_credential_failure(
    content: bytes, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    for secret in (in_file(path), KEY):
        with pytest.raises(UpstreamError) as refused:
            Signers({"KEY": content.decode("latin-1")}, clock).sign(BEARER, secret)

        told = "".join(traceback.format_exception(refused.value))
        assert refused.value.failure is Failure.CREDENTIAL
        assert secret.id in refused.value.message
        assert "hush" not in told + repr(refused.value) + refused.value.message


def test_a_file_of_the_largest_size_is_taken(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "key"
    path.write_text("k" * MAX_SECRET_BYTES)

    headers = Signers({}, clock).sign(BEARER, in_file(path))

    assert len(headers["authorization"]) == len("Bearer ") + MAX_SECRET_BYTES


@pytest.mark.parametrize("there", ["nothing", "a folder", "a pipe"])
def test_a_place_without_a_file_fails_and_never_blocks(
    there: str, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "key"
    if there == "a folder":
        path.mkdir()
    elif there == "a pipe":
        os.mkfifo(path)

    with pytest.raises(UpstreamError) as refused:
        Signers({}, clock).sign(BEARER, in_file(path))

    assert refused.value.failure is Failure.CREDENTIAL


def test_a_variable_that_is_not_set(clock: Clock) -> None:
    with pytest.raises(UpstreamError, match="env:KEY is empty or not set"):
        Signers({}, clock).sign(BEARER, KEY)


def test_nothing_printed_tells_the_secret(clock: Clock) -> None:
    signers = Signers({"KEY": "hush"}, clock)
    signers.sign(BEARER, KEY)

    held = [signers, *vars(signers)["_presented"].items()]

    assert "hush" not in repr(held)
