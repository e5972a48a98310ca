"""What `[n]` in a message points to."""

import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.citations import NONE, cite, without_marks
from app.domain.grounding import Numbers, Source

REPORT = UUID(int=7)
TEXT = (
    "The office costs a lot. Rent takes 40% of the budget. Nobody likes the lifts.\n\nHeating is cheap. Doors squeak."
)
SOURCES = [
    Source(1, REPORT, "Report", TEXT, 100, UUID(int=1), 3, (0, 150, 900)),
    Source(3, UUID(int=8), "Memo", "Remote teams meet twice a year. They like it.", 0),
]


def numbers(text, sources=SOURCES, **more):
    cited = cite(text, sources, **more)
    return [one["n"] for one in cited.found], cited.dropped


def test_the_quote_is_the_sentence_that_says_it_and_the_span_is_its_place_in_the_document():
    [one] = cite("As we know, rent eats 40% of our budget [1].", SOURCES).found

    assert one["quote"] == "Rent takes 40% of the budget."
    assert TEXT[one["span"]["start"] - 100 : one["span"]["end"] - 100] == one["quote"]
    assert (one["document_id"], one["chunk_id"], one["title"]) == (str(REPORT), str(UUID(int=1)), "Report")


def test_the_page_is_the_quotes_and_not_the_passages():
    early, late = cite("The office costs a lot [1]. Heating is cheap [1].", SOURCES).found

    assert (early["page"], late["page"]) == (1, 2)


def test_a_citation_after_the_full_stop_belongs_to_the_sentence_before_it():
    [one] = cite("I am cold. The heating is cheap here. [1] Let us go.", SOURCES).found

    assert one["quote"] == "Heating is cheap."


def test_two_sentences_are_quoted_where_both_are_needed():
    [one] = cite("Remote teams meet twice a year and like it, as they say [3]", SOURCES).found

    assert one["quote"] == "Remote teams meet twice a year. They like it."


@pytest.mark.parametrize(
    ("text", "found", "dropped"),
    [
        ("Rent [1] and teams [3].", [1, 3], 0),
        ("Rent and teams [1, 3].", [1, 3], 0),
        ("Rent and teams [1][3].", [1, 3], 0),
        ("Rent and teams [ 1 ; 3 ].", [1, 3], 0),
        ("Rent and teams [1-3].", [1, 3], 1),
        ("Rent and teams [1–3].", [1, 3], 1),
        ("Rent [7].", [], 1),
        ("Rent [0], [2] and [1].", [1], 2),
        ("Rent in [2024] was high.", [], 0),
        ("Rent [1, 2024].", [1], 0),
        ("Call `rows[1]` and ``a ` [3]``.", [], 0),
        ("Look:\n\n```\nx = y[1]\n[3]\n```\nRent [1].", [1], 0),
        ("~~~\n[1]\n", [], 0),
        ("See [1](https://example.org) and [the memo][1].", [], 0),
        ("Rent.\n\n[1]: https://example.org", [], 0),
        ("Rent [1](as the report says).", [1], 0),
        ("Rent [one] [1a] [] [1.5] [-1].", [], 0),
        ("[1]", [1], 0),
        ("Rent is 40% [1]. Rent takes 40% [1].", [1], 0),
    ],
)
def test_what_is_a_citation_and_what_is_none(text, found, dropped):
    assert numbers(text) == (found, dropped)


def test_without_sources_nothing_is_a_citation():
    assert cite("Rent [1].", []) is NONE


def test_what_was_cited_in_the_discussion_before_can_be_cited_again():
    earlier = cite("Rent takes 40% [1].", SOURCES).found[0]

    again = cite("As was said, rent takes 40% [1], and more [9].", SOURCES[1:], {1: earlier})

    assert (again.found, again.dropped) == ([earlier], 1)


def test_a_passage_without_a_word_in_common_is_quoted_from_its_beginning():
    [one] = cite("Genau so ist es [3].", SOURCES).found

    assert one["quote"] == "Remote teams meet twice a year."


def test_a_long_sentence_is_quoted_around_what_it_has_in_common():
    long = "word " * 300 + "the secret figure is 17 " + "more " * 300

    [one] = cite("The secret figure is 17 [1].", [Source(1, REPORT, "Long", long)]).found

    assert "secret figure is 17" in one["quote"]
    assert len(one["quote"]) <= 400
    assert long[one["span"]["start"] : one["span"]["end"]] == one["quote"]


def test_languages_without_spaces_are_quoted_by_what_they_share():
    text = "家賃は予算の四割である。会議は年に二回ある。"

    [one] = cite("会議は年に二回だ [1]。", [Source(1, REPORT, "報告", text)]).found

    assert one["quote"] == "会議は年に二回ある。"


@given(
    st.text(st.sampled_from("ab [](){}1234,;-–.\n`~:!? "), max_size=300),
    st.text(st.sampled_from("ab .\n!漢。 c"), max_size=200),
)
def test_every_quote_is_what_stands_at_its_span(text, source):
    for one in cite(text, [Source(1, REPORT, "t", source, 5), Source(2, REPORT, "t", "x", 9)]).found:
        start = 5 if one["n"] == 1 else 9
        whole = source if one["n"] == 1 else "x"
        assert whole[one["span"]["start"] - start : one["span"]["end"] - start] == one["quote"]


@pytest.mark.parametrize(
    "text",
    ["." * 100_000 + "x [1]", "`" * 100_000, "`a" * 50_000, "[1" * 50_000, "[1]" * 30_000, "\n " * 50_000 + "[1]"],
)
def test_no_text_takes_long(text):
    began = time.perf_counter()

    cite(text, [Source(1, REPORT, "t", "Well, well. " * 5000)])

    assert time.perf_counter() - began < 2


def test_no_source_of_ours_can_begin_in_a_text():
    assert without_marks("See [2] “Policy”, [1, 3] and [x].") == "See (2) “Policy”, (1, 3) and [x]."


def test_numbers_stay_for_a_whole_discussion_and_after_another_driver_took_over():
    first = Numbers()
    parts = first.parts(REPORT, "Report", "one\ntwo\nthree", (0, 4, 8))
    chunk = first.of(UUID(int=8), UUID(int=80))
    cited = cite("Two [2], chunk [4].", [*parts, Source(chunk, UUID(int=8), "Memo", "A chunk.", 0, UUID(int=80))]).found

    later = Numbers()
    later.learn(cited)

    assert [part.number for part in parts] == [1, 2, 3]
    assert [(part.page, part.text) for part in parts] == [(1, "one\n"), (2, "two\n"), (3, "three")]
    assert later.of(UUID(int=8), UUID(int=80)) == 4
    assert later.of(REPORT, 2) == 2
    assert later.of(UUID(int=9), None) == 5


def test_a_document_of_many_pages_is_shown_in_few_parts_that_hold_all_of_it():
    text = "".join(f"page {page}\n" for page in range(1, 101))
    starts = [text.index(f"page {page}\n") for page in range(1, 101)]

    parts = Numbers().parts(REPORT, "Long", text, starts)

    assert "".join(part.text for part in parts) == text
    assert len(parts) <= 12
    assert parts[1].page_at(parts[1].start) == parts[1].page == 10
