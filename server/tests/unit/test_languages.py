"""Languages: what a text is in, and what PostgreSQL calls it."""

import pytest

from app.services.knowledge.languages import language_of, regconfig_of


@pytest.mark.parametrize(
    ("text", "language", "configuration"),
    [
        ("The committee approved the annual budget after a long discussion.", "en", "english"),
        ("Der Ausschuss hat nach langer Beratung den Haushalt gebilligt.", "de", "german"),
        ("La commission a approuvé le budget annuel après une longue discussion.", "fr", "french"),
        ("委員会は長い議論の末に年間予算を承認した。", "ja", "simple"),
    ],
)
def test_the_language_of_a_sentence_is_found(text, language, configuration):
    assert language_of(text) == language
    assert regconfig_of(language_of(text)) == configuration


@pytest.mark.parametrize("text", ["", "  \n", "ok", "12345 67890", "a1b2c3d4e5f6"])
def test_what_is_in_no_language_is_given_none(text):
    assert language_of(text) is None
    assert regconfig_of(language_of(text)) == "simple"
