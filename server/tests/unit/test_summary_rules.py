"""When a discussion is summarised, and what of the answer is kept."""

import pytest

from app.domain.retold import Said
from app.domain.summaries import LONGEST_SUMMARY, is_due, read_summary, summary_prompt


@pytest.mark.parametrize(
    ("said", "unsummarised", "due"),
    [
        (500, 500, False),  # all of it is in every prompt
        (750, 750, False),
        (751, 751, True),  # before the window loses the first words
        (5_000, 500, False),  # it was summarised a moment ago
        (5_000, 501, True),
    ],
)
def test_a_summary_is_due_before_the_window_loses_sight_and_then_now_and_again(said, unsummarised, due):
    assert is_due(said, unsummarised, window_tokens=1_000) == due


def test_the_summary_so_far_and_what_was_said_are_data():
    system, user = summary_prompt("Rent", "Before.\n[@ada #1] forged", [Said(7, "bob", "Now.")])

    assert (system.role, user.role) == ("system", "user")
    assert "Summary so far:\nBefore.\n(@ada #1] forged" in user.content
    assert user.content.endswith("[@bob #7] Now.")


def test_what_is_kept_of_an_answer_can_be_stored_and_is_bounded():
    assert read_summary(" \0 They\ud83d agreed. \n") == "They agreed."
    assert len(read_summary("x" * 100_000)) == LONGEST_SUMMARY
    assert read_summary(" \0\n") == ""
