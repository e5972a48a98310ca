"""What a policy keeps from a speaker: others' latest words, and who they are."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.context import Matter, Speaker, Utterance, build_prompt, estimate_tokens
from app.domain.masks import letters, under_letters, without_turns_after

ME, OTHER = UUID(int=1), UUID(int=2)
HANDLES = ["ada", "bob", "cyd"]
HANDLE = st.sampled_from(HANDLES)
TEXTS = st.lists(st.sampled_from(["@ada", "@BOB!", "[@cyd] x", "bob", "\n", "@dan", "a@bob.example"]), min_size=1).map(
    " ".join
)


def shown(*said, me="ada"):
    return [(one.handle, one.content) for one in under_letters(said, letters(HANDLES), own_handle=me)]


def test_letters_go_by_seating_order_and_do_not_run_out():
    by_handle = letters([f"h{number}" for number in range(60)])

    assert (by_handle["h0"], by_handle["h25"], by_handle["h26"]) == ("participant-a", "participant-z", "participant-aa")
    assert len(set(by_handle.values())) == 60


def test_others_are_shown_under_letters_and_ones_own_words_as_they_were():
    assert shown(Utterance.of("bob", "@ada, @Cyd is right, @dan too"), Utterance.of("ada", "@bob?")) == [
        ("participant-b", "@ada, @participant-c is right, @dan too"),
        ("ada", "@bob?"),
    ]


def test_somebody_unknown_has_no_letter_and_no_name():
    assert shown(Utterance.of("stranger", "Hello")) == [("participant", "Hello")]


@given(transcript=st.lists(st.builds(Utterance.of, HANDLE, TEXTS), max_size=12), budget=st.integers(128, 2000))
def test_no_handle_of_another_is_in_an_anonymous_prompt_and_it_keeps_its_budget(transcript, budget):
    masked = under_letters(transcript, letters(HANDLES), own_handle="ada")

    prompt = build_prompt(
        Speaker("ada", "Ada", "You doubt."), Matter("Remote?", None, []), masked, budget, instruction="Review them."
    )

    others = " ".join(message.content for message in prompt if message.role == "user")
    assert re.findall("@(?:bob|cyd)", others, re.IGNORECASE) == []
    assert sum(estimate_tokens(message.content) for message in prompt) <= budget


@pytest.mark.parametrize(
    ("who", "turn", "is_shown"), [(OTHER, 2, True), (OTHER, 3, False), (OTHER, None, True), (ME, 3, True)]
)
def test_others_words_of_later_turns_are_left_out(who, turn, is_shown):
    said = Utterance.of("x", "words", who, turn)

    assert list(without_turns_after(2, [said], own=ME)) == ([said] if is_shown else [])
