"""How a transcript reads, line by line."""

from app.domain.transcript import markdown_entry, markdown_header, text_entry, text_header

SEATS = [("Skeptic", "skeptic"), ("Ada", "ada")]


def test_a_markdown_header_names_topic_people_and_outcome():
    assert markdown_header("Remote", "Go remote?", SEATS, "ended", "max_turns") == (
        "# Remote\n\n**Topic:** Go remote?\n\n**Participants:** Skeptic (@skeptic), Ada (@ada)\n\n"
        "**Status:** ended (max_turns)\n"
    )


def test_a_discussion_without_a_title_is_headed_by_its_topic():
    assert markdown_header(None, "Go remote?", SEATS, "running", None).startswith("# Go remote?\n")
    assert text_header(None, "Go remote?", SEATS, "running", None).startswith("Go remote?\n==========\n")


def test_an_entry_says_who_spoke_in_which_turn():
    assert markdown_entry("Ada", "ada", 3, " Yes.\n", was_cut=False) == "\n## Ada (@ada), turn 3\n\nYes.\n"
    assert text_entry("Ada", "ada", 3, " Yes.\n", was_cut=False) == "\n[turn 3] Ada (@ada):\nYes.\n"


def test_an_aside_and_a_cut_are_marked():
    assert "## Ada (@ada), aside *(interrupted)*" in markdown_entry("Ada", "ada", None, "Ye", was_cut=True)
    assert "[aside] Ada (@ada) (interrupted):" in text_entry("Ada", "ada", None, "Ye", was_cut=True)
