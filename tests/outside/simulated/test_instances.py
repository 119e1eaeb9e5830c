"""Whatever the schema, the instance is valid by it."""

import re
from typing import Any

import pytest

from fairlead.outside.simulated.instances import Instances
from fairlead.outside.simulated.reading import Picker, Reading
from fairlead.types.chat import Message, Request, Text

PROMPT = (
    "Extract.\n\nINC-4471 on 2026-11-03T14:02:11Z: booking-api and label-printer fail, sev2. "
    "Mail oncall@example.com, see https://status.example.com/4471, host 192.0.2.7."
)


def instance(schema: dict[str, Any], seed: str = "seed") -> Any:
    messages = (Message("user", (Text(PROMPT),)),)
    reading = Reading(Request(dialect="any", model="any", body=b"", messages=messages))
    return Instances(reading, Picker(seed)).of(schema)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 7}, 7),
        ({"enum": ["sev1", "sev2"]}, "sev2"),
        ({"type": "null"}, None),
        ({"type": ["null", "string"], "format": "email"}, "oncall@example.com"),
        ({"type": "string", "format": "date-time"}, "2026-11-03T14:02:11Z"),
        ({"type": "string", "format": "uri"}, "https://status.example.com/4471"),
        ({"type": "string", "format": "ipv4"}, "192.0.2.7"),
        ({"type": "string", "format": "time"}, "12:00:00Z"),
        ({"type": "string", "pattern": r"^INC-\d+$"}, "INC-4471"),
        ({"type": "integer", "minimum": 3, "maximum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3, "maximum": 4}, 4),
        ({"type": "integer", "minimum": 11, "maximum": 19, "multipleOf": 5}, 15),
        ({"anyOf": [{"type": "null"}, {"const": "x"}]}, "x"),
        ({"allOf": [{"type": "string"}, {"enum": ["only"]}]}, "only"),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 1}}}, 1),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 0}, []),
        ({"type": "object", "required": ["email"]}, {"email": "oncall@example.com"}),
        (
            {"properties": {"services": {"items": {"type": "string"}}}},
            {"services": ["booking-api", "label-printer"]},
        ),
    ],
    ids=str,
)
def test_fits_and_is_taken_from_the_prompt(schema: dict[str, Any], expected: Any) -> None:
    assert instance(schema) == expected


@pytest.mark.parametrize("seed", ["a", "b", "c", "d"])
def test_numbers_stay_in_bounds(seed: str) -> None:
    assert 0 <= instance({"type": "number", "minimum": 0, "maximum": 1}, seed) <= 1
    assert 0 < instance({"type": "integer", "exclusiveMinimum": 0, "maximum": 9}, seed) <= 9
    assert isinstance(instance({"type": "boolean"}, seed), bool)


def test_strings_keep_their_length() -> None:
    assert len(instance({"type": "string", "minLength": 400})) == 400
    assert len(instance({"type": "string", "maxLength": 5})) == 5


def test_lists_have_as_many_items_as_required() -> None:
    schema = {"type": "array", "items": {"type": "string"}, "minItems": 12}

    assert len(instance(schema)) == 12


def test_a_schema_that_contains_itself_ends() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"id": {"type": "string"}, "children": {"items": {"$ref": "#"}}},
        "required": ["id"],
    }

    value = instance(schema)

    assert re.fullmatch(r"INC-\d+", value["children"][0]["id"])


def test_a_text_field_gets_the_sentence_that_speaks_of_it() -> None:
    schema = {"properties": {"status_page": {"type": "string"}}}

    assert "status.example.com" in instance(schema)["status_page"]
