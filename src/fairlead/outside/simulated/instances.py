"""Makes a value that fits a JSON Schema, filled from the prompt where a name suggests what fits.

Covers what output schemas and tools use: types, enum, const, $ref, anyOf, allOf, bounds, formats.
A ``pattern`` is met only if something found in the prompt meets it.
"""

import re
from collections.abc import Mapping
from typing import Any

from fairlead.outside.simulated.reading import Picker, Reading, clipped

Schema = Mapping[str, Any]

DEEPEST = 5
"""Below this, optional properties and array items are left out, so recursion ends."""

MEANINGS: tuple[tuple[str, str], ...] = (
    ("email", "email"),
    ("mail", "email"),
    ("timestamp", "timestamp"),
    ("started", "timestamp"),
    ("detected", "timestamp"),
    ("resolved", "timestamp"),
    ("_at", "timestamp"),
    ("date", "date"),
    ("day", "date"),
    ("time", "time"),
    ("url", "url"),
    ("link", "url"),
    ("version", "version"),
    ("release", "version"),
    ("ip", "ip"),
    ("customer", "customer"),
    ("account", "customer"),
    ("percent", "percent"),
    ("rate", "percent"),
    ("amount", "amount"),
    ("cost", "amount"),
    ("duration", "duration"),
    ("service", "service"),
    ("component", "service"),
    ("host", "service"),
    ("owner", "service"),
    ("system", "service"),
    ("id", "id"),
    ("ticket", "id"),
    ("incident", "id"),
)
"""Which kind of finding suits a property, by what its name contains; the first hit counts."""

FORMATS: Mapping[str, tuple[str, str]] = {
    "email": ("email", "simulated@example.com"),
    "date": ("date", "2026-01-01"),
    "time": ("time", "12:00:00Z"),
    "date-time": ("timestamp", "2026-01-01T12:00:00Z"),
    "uri": ("url", "https://example.com/simulated"),
    "ipv4": ("ip", "192.0.2.1"),
    "uuid": ("", "00000000-0000-4000-8000-000000000000"),
}
"""By JSON Schema's ``format``: what to look for, and what stands in when nothing is found."""

WELL_FORMED = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    "time": re.compile(r"\d\d:\d\d:\d\d(\.\d+)?Z"),
}


class Instances:
    """Values for one prompt. The same prompt and picker give the same values."""

    def __init__(self, reading: Reading, picker: Picker) -> None:
        self._reading = reading
        self._picker = picker
        self._used: dict[str, int] = {}

    def of(self, schema: Schema, name: str = "") -> Any:
        return self._value(schema, schema, name, 0)

    def _value(self, schema: Any, root: Schema, name: str, depth: int) -> Any:
        schema = _resolved(schema, root)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choice(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._value(_simplest(schema[union], root, depth), root, name, depth)
        makers = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._number,
            "number": self._number,
        }
        kind = _type_of(schema)
        if kind in makers:
            return makers[kind](schema, root, name, depth)
        return bool(self._picker.below(2)) if kind == "boolean" else None

    def _object(self, schema: Schema, root: Schema, name: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        wanted = [key for key in properties if depth < DEEPEST or key in required]
        value = {key: self._value(properties[key], root, key, depth + 1) for key in wanted}
        value.update({key: self._text(key, schema) for key in required if key not in value})
        return value

    def _array(self, schema: Schema, root: Schema, name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        count = least if depth >= DEEPEST else max(least, min(3, schema.get("maxItems", 3)))
        items = [
            self._value(schema.get("items", {"type": "string"}), root, name, depth + 1)
            for _ in range(count)
        ]
        return _distinct(items, least) if depth < DEEPEST else items

    def _string(self, schema: Schema, root: Schema, name: str, depth: int) -> str:
        form = schema.get("format", "")
        if form in FORMATS:
            kind, otherwise = FORMATS[form]
            valid = WELL_FORMED.get(form)
            found = self._reading.found.get(kind, ())
            return next((hit for hit in found if not valid or valid.fullmatch(hit)), otherwise)
        text = self._text(name, schema)
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        return text.ljust(least, ".")[:most]

    def _text(self, name: str, schema: Schema) -> str:
        """Something found that suits the name and the pattern, else a sentence of the prompt."""
        pattern = schema.get("pattern")
        found = self._reading.found
        if pattern is not None:
            everything = (hit for hits in found.values() for hit in hits)
            return next((hit for hit in everything if re.search(pattern, hit)), "simulated")
        kind = next((kind for part, kind in MEANINGS if part in name.lower()), "")
        hits = found.get(kind, ())
        return self._next(kind, hits) if hits else self._sentence(name)

    def _sentence(self, name: str) -> str:
        """One that speaks of what the name says, else the next notable one."""
        words = [word for word in name.lower().split("_") if len(word) > 3]
        told = (clipped(each) for each in self._reading.sentences)
        fitting = (each for each in told if any(word in each.lower() for word in words))
        return next(fitting, "") or self._next(
            "sentence", self._reading.notable(8) or ("simulated",)
        )

    def _next(self, kind: str, options: tuple[str, ...]) -> str:
        """In turn, so that a list of several holds different ones."""
        at = self._used.get(kind, 0)
        self._used[kind] = at + 1
        return options[at % len(options)]

    def _choice(self, options: list[Any]) -> Any:
        """The option that the prompt mentions most, in its material."""
        text = self._reading.material.lower()
        counts = [sum(map(text.count, str(option).lower().split("_"))) for option in options]
        best = max(counts)
        return options[counts.index(best)] if best else self._picker.one_of(options)

    def _number(self, schema: Schema, root: Schema, name: str, depth: int) -> int | float:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100))
        step = schema.get("multipleOf", 1 if _type_of(schema) == "integer" else (high - low) / 8)
        if not step:
            return _plain(low)
        first = -(-low // step)
        if "exclusiveMinimum" in schema and first * step <= low:
            first += 1
        last = high // step
        if "exclusiveMaximum" in schema and last * step >= high:
            last -= 1
        return _plain((first + self._picker.below(max(1, int(last - first) + 1))) * step)


def _resolved(schema: Any, root: Schema) -> Schema:
    """Follows references and merges ``allOf``; ``true`` accepts anything."""
    if not isinstance(schema, Mapping):
        return {"type": "string"}
    target: Any = schema
    reference = schema.get("$ref", "")
    if reference.startswith("#"):
        target = root
        for step in reference.split("/")[1:]:
            target = target.get(step.replace("~1", "/").replace("~0", "~"), {})
        return _resolved(target, root)
    if "allOf" in target:
        merged: dict[str, Any] = {key: target[key] for key in target if key != "allOf"}
        for part in target["allOf"]:
            for key, value in _resolved(part, root).items():
                merged[key] = _merged(merged.get(key), value)
        return merged
    return schema


def _merged(ours: Any, theirs: Any) -> Any:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {**ours, **theirs}
    if isinstance(ours, list) and isinstance(theirs, list):
        return [*ours, *theirs]
    return theirs


def _type_of(schema: Schema) -> str:
    stated = schema.get("type")
    if isinstance(stated, list):
        return next((kind for kind in stated if kind != "null"), "null")
    if stated is not None:
        return str(stated)
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _simplest(options: list[Any], root: Schema, depth: int) -> Any:
    """The first that is not null; deep down the first that does not lead deeper."""
    kinds = [_type_of(_resolved(option, root)) for option in options]
    shallow = [kind for kind in kinds if kind not in {"object", "array"}]
    if depth >= DEEPEST and shallow:
        return options[kinds.index(shallow[0])]
    return next((each for each, kind in zip(options, kinds, strict=True) if kind != "null"), {})


def _distinct(items: list[Any], least: int) -> list[Any]:
    kept: list[Any] = []
    for item in items:
        if item not in kept or len(items) <= least:
            kept.append(item)
    return kept if len(kept) >= least else items


def _plain(number: int | float) -> int | float:
    """1.0 is written as 1: some readers take the first for no integer."""
    return int(number) if number == int(number) else round(number, 6)
