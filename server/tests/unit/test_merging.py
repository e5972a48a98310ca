"""Parts that say something of the same form are made one: nothing lost, nothing twice, whatever they hold."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.merging import Part, leaves, merge, says_nothing

NAMES = st.sampled_from(["a", "b", "c/d", "~"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "X ", "y z", "Y  z", ""])
VALUES = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=4) | st.dictionaries(NAMES, of, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def source(number, quote="said"):
    return {"chunk_id": f"c{number}", "span": {"start": number, "end": number + 1}, "page": None, "quote": quote}


def cited(value, number=1, but=()):
    """A part all of whose values were found in the text."""
    return Part(value, {at: [source(number)] for at, _ in leaves(value) if at not in but})


def said(value):
    return {at for at, one in leaves(value) if not says_nothing(one) and one != [] and one != {}}


@given(st.lists(OBJECTS, max_size=4))
def test_parts_that_are_read_twice_change_nothing(values):
    parts = [cited(value) for value in values]

    assert merge([*parts, *parts]).value == merge(parts).value


@given(st.lists(OBJECTS, max_size=4))
def test_every_value_has_sources_or_is_named_as_unsupported_and_nothing_else_is(values):
    parts = [cited(value, number, but=[at for at, _ in leaves(value)][::2]) for number, value in enumerate(values)]

    merged = merge(parts)

    assert merged.sources.keys() | set(merged.unsupported) == said(merged.value)
    assert not merged.sources.keys() & set(merged.unsupported)


@given(OBJECTS)
def test_what_one_part_alone_says_in_objects_is_what_comes_out(value):
    flat = {name: one for name, one in value.items() if not isinstance(one, dict | list) and not says_nothing(one)}

    assert merge([cited(flat)]).value == flat


@given(st.lists(st.lists(SCALARS, max_size=5), max_size=4))
def test_lists_hold_each_value_once_and_leave_none_out(lists):
    merged = merge([cited({"all": values}) for values in lists]).value.get("all", [])

    def plain(one):
        return (type(one) is bool, " ".join(one.casefold().split()) if isinstance(one, str) else one)

    wanted = {plain(one) for values in lists for one in values if not says_nothing(one)}
    assert {plain(one) for one in merged} == wanted
    assert len(merged) == len(wanted)


def test_most_parts_decide_and_those_that_were_found_in_the_text_before_others():
    two_against_one = [cited({"a": "no"}), cited({"a": "yes"}, 2), cited({"a": "Yes"}, 3)]
    invented = [Part({"a": "no"}, {}), Part({"a": "no"}, {}), cited({"a": "yes"})]

    merged = merge(two_against_one)
    assert merged.value == {"a": "yes"}
    assert [one["chunk_id"] for one in merged.sources["/a"]] == ["c2", "c3"]
    assert merge(invented).value == {"a": "yes"}
    assert merge([cited({"a": 1}), cited({"a": 2})]).value == {"a": 1}


def test_objects_of_a_list_are_one_where_one_says_all_that_the_other_does():
    parts = [
        cited({"people": [{"name": "Ada", "role": "chair"}, {"name": "Grace"}]}),
        cited({"people": [{"name": "ada"}, {"name": "Grace", "role": "clerk"}, {"name": "Ada", "role": "clerk"}]}, 2),
    ]

    merged = merge(parts)

    assert merged.value["people"] == [
        {"name": "Ada", "role": "chair"},
        {"name": "Grace", "role": "clerk"},
        {"name": "Ada", "role": "clerk"},
    ]
    assert len(merged.sources["/people/0/name"]) == 2


def test_a_value_of_another_kind_than_the_first_that_was_found_is_left_out():
    assert merge([cited({"a": {"b": 1}}), cited({"a": "text"})]).value == {"a": {"b": 1}}
    assert merge([Part({"a": "text"}, {}), cited({"a": [1]})]).value == {"a": [1]}
