"""What a model is asked of a form, and where its quotes stand."""

import pytest

from app.core.json_schema import compile_schema
from app.domain.extracting import answer_schema
from app.domain.quotes import Searched

TREE = {
    "type": "object",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}},
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "id": {"const": 7},
        "tree": {"$ref": "#/$defs/node"},
        "tags": {"type": "array", "minItems": 2, "items": {"type": "string"}},
        "who": {"oneOf": [{"type": "object", "required": ["x"]}, {"type": "object", "required": ["y"]}]},
    },
    "required": ["kind", "tags"],
    "minProperties": 2,
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "value",
    [
        {},
        None,
        {"kind": None, "id": None, "tags": None},
        {"tree": {"next": {"next": {}}}, "tags": ["one"]},
        {"who": {}},
    ],
)
def test_a_part_may_leave_out_whatever_the_form_requires(value):
    assert compile_schema(answer_schema(TREE)).faults({"value": value}) == []


@pytest.mark.parametrize("value", [{"kind": "c"}, {"id": 8}, {"tree": {"next": 1}}, {"other": 1}, {"tags": [1]}])
def test_a_part_must_not_say_what_the_form_has_no_place_for(value):
    assert compile_schema(answer_schema(TREE)).faults({"value": value})


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("we spend\n  40%", "We spend  40%"),
        ("“RENT”", "rent"),
        ("…of 1940,", "of 1940"),
        ("straße", "STRASSE"),
        ("東京", "東京"),
        ("194", None),
        ("ent", None),
        ("8", None),
        ("", None),
        ("...", None),
        ("we spend 50%", None),
    ],
)
def test_a_quote_is_found_whatever_its_case_blanks_and_signs(quote, found):
    text = 'We spend  40% on "rent" of 1940. STRASSE. 東京都に住む。 8'

    place = Searched(text).find(quote)

    assert (text[slice(*place)] if place else None) == found
