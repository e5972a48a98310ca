"""Chunks: exact spans, in order, nothing lost but white space, under their headings and on their pages."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.documents import Heading, ParsedDocument
from app.services.knowledge.chunking import MOST_CHARACTERS, cut

LETTERS = st.lists(
    st.sampled_from([*"ab .\n\t!", "é", "e\u0301", "\u0301", "字", "。", "👩\u200d👩\u200d👧", "👍🏽", "🇩🇪", "\u00a0"]),
    max_size=60,
).map("".join)
TEXTS = st.lists(st.tuples(LETTERS, st.integers(1, 120)), max_size=8).map(
    lambda parts: "".join(text * times for text, times in parts)
)


@st.composite
def documents(draw):
    text = draw(TEXTS)
    places = st.lists(st.integers(0, max(len(text) - 1, 0)), max_size=6, unique=True).map(sorted)
    headings = [Heading(start, draw(st.integers(1, 9)), f"h{start}") for start in draw(places)]
    return ParsedDocument(text, "text/plain", page_starts=draw(places) or None, headings=headings)


def covered(document, pieces):
    """The text with the pieces taken out of it."""
    rest, end = "", 0
    for piece in pieces:
        start, stop = piece.span
        assert start >= end
        rest += document.text[end:start]
        end = stop
    return rest + document.text[end:]


@given(documents())
def test_pieces_are_their_spans_and_only_white_space_is_between_them(document):
    pieces = cut(document)

    assert all(document.text[slice(*piece.span)] == piece.text for piece in pieces)
    assert all(piece.text.strip() and len(piece.text) <= MOST_CHARACTERS for piece in pieces)
    assert not covered(document, pieces).strip()


@given(documents())
def test_no_piece_reaches_over_the_end_of_its_page(document):
    starts = document.page_starts or []

    for piece in cut(document):
        begun = [number for number, start in enumerate(starts, 1) if start <= piece.span[0]]
        assert piece.page == (begun[-1] if begun else None)
        assert not any(piece.span[0] < start < piece.span[1] for start in starts)


def test_a_piece_names_the_headings_that_it_is_under():
    body = "A sentence of some length about the budget of the year. " * 6
    text = f"Report\n\nMoney\n\n{body}\n\nTime\n\n{body}\n\nAppendix\n\n{body}"
    levels = {"Report": 1, "Money": 2, "Time": 2, "Appendix": 1}
    headings = [Heading(text.index(f"{title}\n"), level, title) for title, level in levels.items()]

    pieces = cut(ParsedDocument(text, "text/markdown", headings=headings))

    assert [piece.heading for piece in pieces] == ["Report > Money", "Report > Time", "Appendix"]
    assert pieces[0].text.startswith("Report\n\nMoney\n\nA sentence")


def test_short_sections_beside_each_other_are_one_piece_under_what_they_share():
    text = "Glossary\nTurn: one message.\nFloor: who may speak."
    headings = [Heading(0, 1, "Glossary"), Heading(9, 2, "Turn"), Heading(28, 2, "Floor")]

    (piece,) = cut(ParsedDocument(text, "text/plain", headings=headings))

    assert (piece.heading, piece.text) == ("Glossary", text)


def test_a_piece_ends_with_a_sentence():
    text = " ".join(f"This is sentence number {number}, which says little." for number in range(200))

    assert all(piece.text.endswith(".") for piece in cut(ParsedDocument(text, "text/plain")))


@pytest.mark.parametrize("whole", ["👩\u200d👩\u200d👧", "a\u0301", "👍🏽"])
def test_no_character_is_parted_from_what_makes_it_one(whole):
    pieces = cut(ParsedDocument("x" + whole * 5_000, "text/plain"))

    assert len(pieces) > 1
    assert all(piece.text.removeprefix("x").replace(whole, "") == "" for piece in pieces)


@pytest.mark.parametrize("unit", ["a", "字", "word ", "\n", "\u0301", "a,", "."])
def test_text_without_end_of_a_sentence_is_cut_into_few_pieces_in_linear_time(unit):
    document = ParsedDocument(unit * (500_000 // len(unit)), "text/plain")

    began = time.process_time()
    pieces = cut(document)

    assert time.process_time() - began < 10  # half a second here; quadratic, it takes minutes
    assert len(pieces) <= len(document.text) // 500
