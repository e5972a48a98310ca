"""Handles: whatever a name looks like, its handle can be written after an @."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.handles import HANDLE_PATTERN, MAX_HANDLE, derive_handle, free_handle, person_handle

HANDLES = st.from_regex(HANDLE_PATTERN.replace("$", r"\Z").replace("^", r"\A"))


@given(name=st.text())
def test_every_name_gives_a_handle(name):
    assert re.fullmatch(HANDLE_PATTERN.strip("^$"), derive_handle(name))


@given(handle=HANDLES)
def test_a_derived_handle_derives_itself(handle):
    derived = derive_handle(handle)

    assert derive_handle(derived) == derived


@given(wanted=HANDLES, taken=st.sets(HANDLES, max_size=20), clashes=st.integers(0, 30))
def test_a_free_handle_is_free_and_a_handle(wanted, taken, clashes):
    for _ in range(clashes):
        taken.add(free_handle(wanted, taken))

    free = free_handle(wanted, taken)

    assert free not in taken
    assert len(free) <= MAX_HANDLE
    assert re.fullmatch(HANDLE_PATTERN.strip("^$"), free)


@given(wanted=HANDLES)
def test_a_handle_that_is_free_is_given_as_wanted(wanted):
    assert free_handle(wanted, set()) == wanted


@pytest.mark.parametrize(
    "name", ["System", "ASSISTANT", " user ", "_system_", "ſystem", "Ｓｙｓｔｅｍ", "Moderator", "tool!"]
)
def test_no_person_is_handled_as_a_role(name):
    handle = person_handle(name)

    assert handle == f"participant-{derive_handle(name).strip('_')}"
    assert re.fullmatch(HANDLE_PATTERN.strip("^$"), handle)


@pytest.mark.parametrize("name", ["Ada Byron", "Systema", "The Moderator", "Skeptic (moderator)"])
def test_another_name_gives_a_person_the_handle_it_gives_anybody(name):
    assert person_handle(name) == derive_handle(name)
