"""Page cursors: what we made is read back, anything else is refused as such."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.cursors import BadCursor, decode_cursor, encode_cursor
from app.repositories.base import position_id


@given(position=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_position_comes_back_as_it_went_in(position):
    assert decode_cursor(encode_cursor(position)) == position


@given(position=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_cursor_needs_no_escaping_in_an_address(position):
    assert all(
        character.isascii() and (character.isalnum() or character in "-_") for character in encode_cursor(position)
    )


@given(garbage=st.text())
def test_garbage_is_refused_or_the_very_cursor_of_what_it_says(garbage):
    try:
        position = decode_cursor(garbage)
    except BadCursor:
        return
    assert encode_cursor(position) == garbage


@given(id=st.uuids())
def test_an_id_comes_back_from_its_cursor(id):
    assert position_id(encode_cursor(str(id))) == id


@given(position=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_cursor_of_no_id_is_refused(position):
    try:
        expected = UUID(position)
    except ValueError:
        with pytest.raises(BadCursor):
            position_id(encode_cursor(position))
    else:
        assert position_id(encode_cursor(position)) == expected
