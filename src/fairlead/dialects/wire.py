"""Small wire matters that every dialect shares: splicing JSON, saying what is wrong with it, tool
names, counts of tokens, and what a request asks of its own route. Knows no dialect."""

import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from fairlead.types.chat import Narrowing
from fairlead.types.errors import BadRequest, Failure, GatewayError, UpstreamError

Undecodable = msgspec.DecodeError | UnicodeDecodeError | RecursionError
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a caller's bytes may raise. Hand it to ``bad_request``."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()

Shapes = Mapping[str, type[Struct]]
Number = TypeVar("Number", int, float)


MOST_TOKENS = 1 << 31
"""A count above it is a mistake, and would be one in the account."""


def counted(counts: Any, name: str) -> int | None:
    """A number of tokens in what an endpoint says that it used; None where that is none."""
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


# JSON objects, spliced ---------------------------------------------------------------------------


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the top-level members of a JSON object, their values undecoded."""
    return _MEMBERS.decode(body)


MOST_MEMBERS = 1_000
"""Vendors know some fifty. Each that is not known here is looked at, and told."""


def members_of_request(body: bytes) -> dict[str, msgspec.Raw]:
    """``members`` of a caller's body. Raises BadRequest too."""
    found = members(body)
    if len(found) > MOST_MEMBERS:
        raise BadRequest(f"The body has more than {MOST_MEMBERS:,} fields.")
    return found


def splice(body: bytes, changes: Mapping[str, Any], remove: Collection[str] = ()) -> bytes:
    """Change, add and remove top-level members; every other value keeps its exact bytes.

    Values of ``changes`` may be ``msgspec.Raw``. With nothing to do, returns ``body`` itself.
    """
    if not changes and not remove:
        return body
    whole: dict[str, Any] = {**_MEMBERS.decode(body), **changes}
    for name in remove:
        whole.pop(name, None)
    return _ENCODER.encode(whole)


EXTRA = "(extra)"
"""The wire name of the field that takes what ``gathered`` found."""


def is_unknown_member(error: Exception) -> bool:
    """Whether decoding failed for a member that its shape, which forbids others, does not have."""
    return "contains unknown field" in str(error)


def gathered(body: bytes, shape: type[Struct], parts: Mapping[type[Struct], Shapes]) -> Any:
    """Decode ``body``, and move the members that the shapes of its parts do not have into their
    field ``EXTRA``. What it gives is to be converted to ``shape``."""
    whole = msgspec.json.decode(body)
    for name, part in parts[shape].items():
        _gather(whole.get(name), part, parts)
    return whole


def _gather(value: Any, shape: type[Struct], parts: Mapping[type[Struct], Shapes]) -> None:
    if isinstance(value, list):
        for item in value:
            _gather(item, shape, parts)
    elif isinstance(value, dict):
        for name, part in parts.get(shape, {}).items():
            _gather(value.get(name), part, parts)
        if strange := value.keys() - set(shape.__struct_encode_fields__):
            value[EXTRA] = {name: value.pop(name) for name in sorted(strange)}


# What is wrong with a caller's JSON --------------------------------------------------------------

PLAIN_TYPES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a string",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_QUOTED = re.compile(r"`([^`]+)`")


def bad_request(error: Undecodable, roles: Sequence[str] = ()) -> BadRequest:
    """Turn what ``msgspec`` raised into the caller's error, naming the place. ``roles``: those that
    a message may have."""
    if isinstance(error, RecursionError):
        return BadRequest("The body is nested too deep.")
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("The body is not valid UTF-8.")
    if not isinstance(error, msgspec.ValidationError):
        problem = str(error).removeprefix("JSON is malformed: ")
        # What is said of a body without a byte is the same: no answer to "what did I forget".
        if problem == "Input data was truncated":
            problem = "it ends too early, or there is none"
        return BadRequest(f"The body is not valid JSON: {problem}.")
    problem, _, path = str(error).partition(" - at `$")
    param = path.rstrip("`").removeprefix(".")
    if "missing required field" in problem:
        param = ".".join(filter(None, (param, problem.split("`")[1])))
        return BadRequest(f"{param}: this field is required.", param=param)
    if roles and param.endswith(".role") and problem.startswith("Invalid enum value"):
        problem += f"; known are {', '.join(roles)}"
    return BadRequest(f"{param or 'The body'}: {_plain(problem)}.", param=param or None)


def _plain(problem: str) -> str:
    problem = problem.replace(" | null`, got", "`, got").replace("Invalid enum value", "unknown")
    problem = problem.replace("of length >= 1", "that is not empty")
    return _QUOTED.sub(_plain_types, problem).replace("Expected", "expected")


def _plain_types(match: re.Match[str]) -> str:
    return " or ".join(PLAIN_TYPES.get(word, word) for word in match[1].split(" | "))


# What is wrong with an answer --------------------------------------------------------------------


def for_programs(error: GatewayError, in_stream: bool) -> dict[str, Any]:
    """What a program acts on, whatever the vendor's own errors have. ``in_stream``: the caller has
    seen some of the answer. Then no header can say whether asking again helps, and nobody else has
    asked for the whole of it."""
    told: dict[str, Any] = {"code": error.code, "should_retry": error.retryable}
    if isinstance(error, UpstreamError):
        told["should_retry"] |= in_stream and error.failure is Failure.STREAM_BROKEN
        if error.delivered_chars is not None:
            told["delivered_chars"] = error.delivered_chars
    if in_stream:
        told["attempts"] = [attempted.id for attempted in error.attempts]
    return told


def gone_on_with(by: Sequence[str]) -> dict[str, Any]:
    """Of a stream that others went on with: who, in order. A field of its last frames."""
    return {"continued_by": by}


# Tool names --------------------------------------------------------------------------------------

MAX_TOOL_NAME = 64
_SAFE_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOOL_NAME}}}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def safe_tool_name(name: str) -> str:
    """Return ``name`` if every vendor takes it, or else a stand-in for it, always the same one.

    The check sum keeps two names apart that differ only in what is replaced or cut off.
    """
    if _SAFE_NAME.fullmatch(name):
        return name
    suffix = f"_{zlib.crc32(name.encode()):08x}"
    return _UNSAFE.sub("_", name)[: MAX_TOOL_NAME - len(suffix)] + suffix


def original_tool_names(names: Iterable[str]) -> dict[str, str]:
    """Return the way back from the stand-ins that ``safe_tool_name`` made. Mostly empty."""
    stand_ins = ((safe_tool_name(name), name) for name in names)
    return {safe: name for safe, name in stand_ins if safe != name}


# What a request asks of its own route ------------------------------------------------------------

METADATA_PREFIX = "fairlead."
_MEANT_FOR_US = re.compile(r"fairlead(?![a-z0-9])", re.IGNORECASE)
"""However it is written: an object ``fairlead``, ``fairlead_zone`` and the like are misspelt."""
HEADER_PREFIX = "x-fairlead-"
MEANT = ("x-fairlead", "fairlead")
"""How a header begins that somebody wrote for us, well or not."""
NOT_NARROWED = Narrowing()
NOWHERE = ("",)
"""A list that nothing matches: what is left of two lists with nothing in common."""

MAX_DIGITS = 9
_MONEY = re.compile(rf"\$?([0-9]{{1,{MAX_DIGITS}}})(?:\.([0-9]{{1,9}}))?")
_DURATION = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}})(?:\.([0-9]{{1,3}}))?(ms|s|m|h)")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def narrowing(metadata: Mapping[str, Any]) -> tuple[Narrowing, dict[str, Any]]:
    """Read the ``fairlead.*`` keys of a metadata map: ``zone``, ``models``, ``max_cost``,
    ``max_latency``, ``deadline``. Return the wish, and the metadata that is not ours.

    Raises BadRequest for a bad value and for an unknown ``fairlead.*`` key: a limit that is
    misspelt must not be ignored.
    """
    ours = {key: value for key, value in metadata.items() if _MEANT_FOR_US.match(key)}
    if not ours:
        return NOT_NARROWED, dict(metadata)
    wishes: dict[str, str] = {}
    for key, value in ours.items():
        wish, place = key.removeprefix(METADATA_PREFIX), f"metadata.{key}"
        if wish not in ACCEPTED:
            known = ", ".join(METADATA_PREFIX + name for name in ACCEPTED)
            raise BadRequest(f"{place} is not known; known are {known}.", param=place)
        if not isinstance(value, str):
            raise _refused(place, wish)
        wishes[wish] = value
    remaining = {key: value for key, value in metadata.items() if key not in ours}
    return _narrowing(wishes, IN_METADATA), remaining


def check_no_limit(names: Iterable[str]) -> None:
    """Raises BadRequest if a limit is among members of a request that belong to nobody here."""
    for name in names:
        if _MEANT_FOR_US.match(name):
            raise BadRequest(
                f"{name}: limits stand in metadata, such as {METADATA_PREFIX}zone, or in headers,"
                f" such as {HEADER_PREFIX}zone.",
                param=name,
            )


def narrowing_from_headers(headers: Mapping[str, str]) -> Narrowing:
    """Read ``x-fairlead-zone``, ``-models``, ``-max-cost``, ``-max-latency``, ``-deadline``.

    Raises BadRequest for a bad value and for an unknown header that names us: a limit that is
    misspelt must not be ignored.
    """
    ours = [name for name in headers if name[:1] in "xXfF" and name.lower().startswith(MEANT)]
    if not ours:
        return NOT_NARROWED
    for name in ours:
        if name.lower() not in KNOWN_HEADERS:
            known = ", ".join(KNOWN_HEADERS)
            raise BadRequest(f"{name.lower()} is not known; known are {known}.", param=name.lower())
    if headers.get(EXPLAIN, "1").strip().lower() not in YES_OR_NO:
        raise BadRequest(f"{EXPLAIN}: expected 1 or 0.", param=EXPLAIN)
    wishes = {wish: headers[name] for wish, name in IN_HEADERS.items() if name in headers}
    return _narrowing(wishes, IN_HEADERS) if wishes else NOT_NARROWED


def narrower(a: Narrowing, b: Narrowing) -> Narrowing:
    """Return the wish that holds whenever both hold.

    Names are compared as written: a model's name and that of its endpoint have nothing in common.
    """
    if b == NOT_NARROWED:
        return a
    return Narrowing(
        zones=_both(a.zones, b.zones),
        models=_both(a.models, b.models),
        max_cost_nano_usd=_least(a.max_cost_nano_usd, b.max_cost_nano_usd),
        max_latency_ms=_least(a.max_latency_ms, b.max_latency_ms),
        deadline_s=_least(a.deadline_s, b.deadline_s),
    )


ACCEPTED = {
    "zone": 'a list of zones such as "eu,local"',
    "models": 'a list of models such as "small-model,vendor/*"',
    "max_cost": 'an amount in dollars such as "$0.05"',
    "max_latency": 'a time above zero such as "2s" or "800ms"',
    "deadline": 'a time above zero such as "30s" or "800ms"',
}
IN_METADATA = {wish: f"metadata.{METADATA_PREFIX}{wish}" for wish in ACCEPTED}
IN_HEADERS = {wish: HEADER_PREFIX + wish.replace("_", "-") for wish in ACCEPTED}
FOR_THE_RECORD = tuple(HEADER_PREFIX + name for name in ("workflow", "step", "explain"))
EXPLAIN = f"{HEADER_PREFIX}explain"
YES_OR_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
KNOWN_HEADERS = (*IN_HEADERS.values(), *FOR_THE_RECORD)


def _narrowing(wishes: Mapping[str, str], places: Mapping[str, str]) -> Narrowing:
    parsed: dict[str, Any] = {}
    for wish, text in wishes.items():
        value = _PARSERS[wish](text.strip())
        if not value and (wish != "max_cost" or value is None):
            raise _refused(places[wish], wish)
        parsed[wish] = value
    deadline_ms = parsed.get("deadline")
    return Narrowing(
        zones=parsed.get("zone", ()),
        models=parsed.get("models", ()),
        max_cost_nano_usd=parsed.get("max_cost"),
        max_latency_ms=parsed.get("max_latency"),
        deadline_s=None if deadline_ms is None else deadline_ms / 1000,
    )


def _refused(place: str, wish: str) -> BadRequest:
    return BadRequest(f"{place}: expected {ACCEPTED[wish]}.", param=place)


def _names(text: str) -> tuple[str, ...]:
    """An empty name makes the list empty, and so refused: a hole is more likely a mistake. So does
    one that cannot be shown, such as bytes that are no UTF-8."""
    names = tuple(name.strip() for name in text.split(","))
    return names if all(name and name.isprintable() for name in names) else ()


def _nano_usd(text: str) -> int | None:
    match = _MONEY.fullmatch(text)
    return match and int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0"))


def _milliseconds(text: str) -> int | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    thousandths = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))
    return thousandths * _MS[match[3]] // 1000


_PARSERS = {
    "zone": _names,
    "models": _names,
    "max_cost": _nano_usd,
    "max_latency": _milliseconds,
    "deadline": _milliseconds,
}


def _both(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """Intersect two lists of names in which a trailing ``*`` matches any ending; empty is all."""
    if not a or not b:
        return a or b
    common = (_overlap(left, right) for left in a for right in b)
    return tuple(dict.fromkeys(name for name in common if name)) or NOWHERE


def _overlap(a: str, b: str) -> str:
    if a == b or (b.endswith("*") and a.startswith(b[:-1])):
        return a
    return b if a.endswith("*") and b.startswith(a[:-1]) else ""


def _least(a: Number | None, b: Number | None) -> Number | None:
    return min((value for value in (a, b) if value is not None), default=None)
