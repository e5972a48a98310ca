"""Page cursors: what we made is read back where it belongs, anything else is refused as such."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.cursors import MOST_DIGITS, BadCursor, decode_cursor, decode_id, decode_numbers, encode_cursor

LISTS = st.sampled_from(["agents", "messages.asc", "diff"])
PARTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":")), max_size=3)


@given(of_list=LISTS, parts=PARTS)
def test_a_position_comes_back_as_it_went_in(of_list, parts):
    assert decode_cursor(encode_cursor(of_list, *parts), of_list) == parts


@given(of_list=LISTS, parts=PARTS)
def test_a_cursor_needs_no_escaping_in_an_address(of_list, parts):
    cursor = encode_cursor(of_list, *parts)
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in cursor)


@given(garbage=st.text(), of_list=LISTS)
def test_garbage_is_refused_or_the_very_cursor_of_what_it_says(garbage, of_list):
    try:
        position = decode_cursor(garbage, of_list)
    except BadCursor:
        return
    assert encode_cursor(of_list, *position) == garbage


@given(made_for=LISTS, used_in=LISTS, parts=PARTS)
def test_a_cursor_is_good_for_its_own_list_only(made_for, used_in, parts):
    cursor = encode_cursor(made_for, *parts)
    if made_for == used_in:
        assert decode_cursor(cursor, used_in) == parts
    else:
        with pytest.raises(BadCursor, match="another list"):
            decode_cursor(cursor, used_in)


@given(numbers=st.lists(st.integers(0, 10**MOST_DIGITS - 1), min_size=1, max_size=2))
def test_numbers_come_back_from_their_cursor(numbers):
    assert decode_numbers(encode_cursor("diff", *numbers), "diff", len(numbers)) == numbers


@pytest.mark.parametrize("position", [[], ["1", "2"], ["x"], ["-1"], ["1.0"], ["٣"], [""], ["1" * (MOST_DIGITS + 1)]])
def test_what_is_no_number_or_not_as_many_is_refused(position):
    with pytest.raises(BadCursor):
        decode_numbers(encode_cursor("diff", *position), "diff")


@given(id=st.uuids())
def test_an_id_comes_back_from_its_cursor(id):
    assert decode_id(encode_cursor("agents", id), "agents") == id


@given(position=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_cursor_of_no_id_is_refused(position):
    try:
        expected = UUID(position)
    except ValueError:
        with pytest.raises(BadCursor):
            decode_id(encode_cursor("agents", position), "agents")
    else:
        assert ":" in position or decode_id(encode_cursor("agents", position), "agents") == expected
