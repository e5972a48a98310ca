"""Schemas that callers bring: what is taken, what is refused, and that neither costs more than it may."""

import time

import pytest

from app.core.json_schema import BadSchema, compile_schema

TREE = {"$defs": {"node": {"properties": {"kids": {"items": {"$ref": "#/$defs/node"}}}}}, "$ref": "#/$defs/node"}
BRANCH = {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}


def nested(levels, inside=1):
    for _ in range(levels):
        inside = {"a": inside}
    return inside


def doubling(length, end):
    """Definitions each of which refers to the next twice."""
    chain = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(length)}
    return {"$defs": {**chain, f"d{length}": end}, "$ref": "#/$defs/d0"}


def test_faults_say_what_does_not_fit_and_where():
    schema = compile_schema({"properties": {"a": {"items": {"type": "integer"}}}, "required": ["b"]})

    assert schema.faults({"a": [1], "b": None}) == []
    assert set(schema.faults({"a": ["x"]})) == {'/a/0: "x" is not of type "integer"', '/: "b" is a required property'}


def test_few_faults_are_told_and_none_at_length():
    schema = compile_schema({"items": {"type": "integer"}})

    faults = schema.faults(["x" * 1000] * 100)

    assert len(faults) == 20
    assert all(len(fault) <= 300 for fault in faults)


@pytest.mark.parametrize(
    "schema",
    [
        *(None, [], "object", True, {"type": "nonsense"}, {"properties": 1}, {"required": "a"}, {"minimum": "1"}),
        *({"pattern": "("}, {"pattern": "(?=a)b"}, {"pattern": "(a)\\1"}, {"enum": 1}, {"multipleOf": 0}),
        *({"$ref": "#/$defs/missing"}, {"$ref": "#anchor"}, {"$ref": "other.json"}, {"$ref": "#/$defs/a~2"}),
        *({"$ref": "http://127.0.0.1:9/schema"}, {"$ref": "file:///etc/passwd"}, {"$dynamicRef": "#node"}),
        *({"properties": {"a": {"$id": "http://elsewhere/"}}}, {"$anchor": "here"}, {"description": "a\x00b"}),
        *({"description": "\ud800"}, {"description": "x" * 70_000}, {"default": nested(60)}, {"const": {1, 2}}),
        {"properties": {str(number): {"$ref": "#/$defs/a"} for number in range(300)}, "$defs": {"a": {}}},
        doubling(30, {"type": "integer"}),
    ],
)
def test_what_is_no_schema_or_costs_too_much_is_refused_at_once(schema):
    began = time.process_time()

    with pytest.raises(BadSchema):
        compile_schema(schema)

    assert time.process_time() - began < 1


def test_a_property_and_a_constant_may_be_called_like_a_keyword():
    schema = compile_schema({"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "x"}]})

    assert schema.faults({"$ref": "x"}) == []


def test_definitions_that_contain_themselves_are_taken():
    schema = compile_schema(TREE)

    assert schema.faults({"kids": [{"kids": []}]}) == []
    assert schema.faults({"kids": [{"kids": 1, "name": 1}, 1]}) == []
    assert compile_schema({**TREE, "$ref": "#/$defs/node", "type": "object"}).faults(1)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 50_000 + "b"),
        ({"anyOf": [BRANCH, BRANCH]}, nested(13)),
        ({"anyOf": [BRANCH, BRANCH]}, nested(60)),
        ({"anyOf": [BRANCH] * 5}, nested(40)),
        (doubling(12, {"type": "integer"}), "x"),
        (doubling(11, {"properties": {"a": {"$ref": "#/$defs/d0"}}}), nested(12)),
        ({"uniqueItems": True}, list(range(20_000))),
        ({}, nested(100_000)),
    ],
)
def test_no_value_takes_long(schema, value):
    compiled = compile_schema(schema)
    began = time.process_time()

    compiled.faults(value)

    assert time.process_time() - began < 3


def test_a_value_that_nests_too_deep_does_not_fit():
    assert compile_schema({}).faults(nested(65)) == ["/: nests deeper than 64 levels"]
    assert compile_schema({}).faults(nested(63)) == []


def _circle(size, keyword="allOf"):
    names = [f"a{number}" for number in range(size)]
    parts = [{"$ref": f"#/$defs/{name}"} for name in names]
    return {"$defs": {name: {keyword: parts} for name in names}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize(
    "schema",
    [
        _circle(6),
        _circle(6, "anyOf"),
        {"$ref": "#"},
        {"not": {"$ref": "#"}},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"items": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_circle_that_leads_into_no_value_is_refused(schema):
    with pytest.raises(BadSchema, match="circle"):
        compile_schema(schema)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(number):
    with pytest.raises(BadSchema, match="NaN"):
        compile_schema({"type": "object", "properties": {"a": {"default": number}}})
