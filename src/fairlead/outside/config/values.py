"""What single values mean: names, addresses, references to credentials. Knows no table of keys."""

import datetime
import os.path
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from fairlead.outside.config.mask import looks_like_a_key
from fairlead.outside.config.problems import Mistake, Place, did_you_mean, one_of, quoted
from fairlead.outside.config.read import Fields, Node
from fairlead.outside.config.settings import Listen
from fairlead.outside.config.shapes import (
    Key,
    Reading,
    Table,
    known_fields,
    scalar,
)
from fairlead.types.catalog import Capability, Secret

PROVIDER_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
NAME = re.compile(r"[^\s*\x00-\x1f\x7f]{1,200}")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# Upper case only: a credential may begin with `$` too, and must not end up in a hint.
ENV_REFERENCE = re.compile(r"\$(?:([A-Z][A-Z_]*)|\{([A-Z][A-Z_]*)\})")
LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
APPENDED = ("/chat/completions", "/messages", "/responses", "/completions")

Secrets = tuple[tuple[Secret, Place], ...]


def choice(options: Iterable[str]) -> Callable[[str], str]:
    known = tuple(options)

    def parse(text: str) -> str:
        if text in known:
            return text
        hint = did_you_mean(text, known) or f"known: {one_of(known)}"
        raise Mistake(f"unknown value {quoted(text)}", hint)

    return parse


def text(value: str) -> str:
    return value


def provider_name(value: str) -> str:
    if not PROVIDER_NAME.fullmatch(value):
        raise Mistake(
            f"{quoted(value)} is not a name for a provider", "letters, digits, `.`, `-` and `_`"
        )
    return value


def name(value: str) -> str:
    if not NAME.fullmatch(value) or not value.isprintable():
        raise Mistake(f"{quoted(value)} is not a name", "no spaces and no `*`")
    return value


def pattern(value: str) -> str:
    """A name, or the beginning of names and a ``*``."""
    if value != "*":
        name(value.removesuffix("*"))
    return value


def date(value: str) -> str:
    """A day in UTC."""
    try:
        # It takes other spellings too, and dates here are compared as they are written.
        if datetime.date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise Mistake(f"{quoted(value)} is not a date", "such as 2027-03-31")


def listen(value: str) -> Listen:
    found = LISTEN.fullmatch(value)
    if found is None or int(found[2]) > 65535:
        hint = f"write 127.0.0.1:{value}" if value.isdecimal() else "such as 127.0.0.1:4600"
        raise Mistake(f"{quoted(value)} is not a host and port", hint)
    return Listen(found[1].strip("[]"), int(found[2]))


def expanded(value: str) -> str:
    return os.path.expanduser(value)


def address(node: Node, reading: Reading) -> str:
    """An http or https URL without its trailing slash."""
    value = scalar(node).text
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if "@" in value or looks_like_a_key(value):
        reading.hide(node)
    if not sound or not value.isprintable() or " " in value:
        raise Mistake("not an address", "such as https://api.example.com/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Mistake(
            "an address holds no credential and no `?` or `#`", "credentials go in `api_key`"
        )
    stripped = value.rstrip("/")
    for ending in APPENDED:
        if stripped.endswith(ending):
            raise Mistake(f"the dialect appends {ending} itself", f"leave out `{ending}`")
    return stripped


def env_name(node: Node, reading: Reading) -> str:
    value = scalar(node).text
    if looks_like_a_key(value) or not ENV_NAME.fullmatch(value):
        reading.hide(node)
        raise Mistake("not the name of an environment variable", "such as {env: OPENAI_API_KEY}")
    return value


def secret_file(node: Node, reading: Reading) -> str:
    value = scalar(node).text
    if looks_like_a_key(value) or not value.isprintable() or not value:
        reading.hide(node)
        raise Mistake("not the path of a file", "such as {file: /run/secrets/openai}")
    return str(Path(reading.folder) / expanded(value))


def secret(node: Node, reading: Reading) -> tuple[Secret, Place]:
    """A reference to a credential. The credential itself is refused, and never shown."""
    if not isinstance(node, Fields):
        reading.hide(node)
        written = scalar(node).text
        variable = ENV_REFERENCE.fullmatch(written) if not looks_like_a_key(written) else None
        hint = (
            f"write {{env: {variable[1] or variable[2]}}}"
            if variable
            else "use {env: NAME} or {file: /path}"
        )
        raise Mistake("a credential may not stand in this file", hint, node.place)
    strange = [field for field in node.fields if field[0].text not in SECRET]
    for key, value in strange:
        reading.hide(key)
        reading.hide(value)
    if strange or len(node.fields) != 1:
        raise Mistake("name one source of the credential", "{env: NAME} or {file: /path}")
    found = known_fields(node, SECRET, reading)
    env, file = str(found.get("env", "")), str(found.get("file", ""))
    return Secret(id=f"env:{env}" if env else f"file:{file}", env=env, file=file), node.place


SECRET: Table = {
    "env": Key(env_name, "name", "", "The environment variable that holds the credential."),
    "file": Key(
        secret_file,
        "path",
        "",
        "The file that holds it; relative paths start at the configuration's folder.",
    ),
}


def capability(value: str) -> str:
    choice(get_args(Capability))(value.removeprefix("-"))
    return value
