"""What is read of a document without a model."""

from collections import Counter

import pytest

from app.domain.enriching import MOST_SUMMARY_CHARACTERS, count_words, first_sentences, keywords_of
from app.services.knowledge.enrichment import _places


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("# Title\n\nOne.\nTwo goes\non.", "One. Two goes on."),
        ("# Only a title", "# Only a title"),
        ("", ""),
        ("家賃は高い。暖房は古い。", "家賃は高い。 暖房は古い。"),
        ("A" * 900, "A" * 599 + "…"),
        ("word " * 200, ("word " * 119).strip() + "…"),
        ("Short. " + "long " * 200, "Short."),
    ],
)
def test_a_summary_is_the_first_sentences_that_fit(text, summary):
    assert first_sentences(text) == summary
    assert len(first_sentences(text)) <= MOST_SUMMARY_CHARACTERS


def test_keywords_are_words_as_the_text_has_them_most():
    words = count_words("Rents rise. The RENT, the rent, the rent. Café-Bar; rents 42 x1")

    stems = {"rent": "rent", "Rents": "rent", "Café-Bar": "cafe-bar"}
    assert words == Counter({"rent": 3, "the": 3, "Rents": 2, "rise": 1, "Café-Bar": 1, "x1": 1})
    assert keywords_of(["cafe-bar", "rent", "nowhere"], words, stems) == ["Café-Bar", "rent"]


@pytest.mark.parametrize(("chunks", "wanted"), [(1, 2), (3, 8), (9, 8), (1000, 15), (16, 15)])
def test_the_beginning_and_places_all_over_the_rest_are_shown(chunks, wanted):
    places = _places(chunks, wanted)

    assert places == sorted(set(places))
    assert len(places) == min(chunks, wanted)
    assert all(0 <= place < chunks for place in places)
    assert places[: (len(places) + 1) // 2] == list(range((len(places) + 1) // 2))
