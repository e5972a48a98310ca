"""Replies are ended at their limit where the provider does not do so, and only there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.agent import AgentParams
from app.services.live.position import MOST_CHARACTERS_SPOKEN
from app.services.providers.token_limit import MOST_CHUNKS_PER_TOKEN, TokenLimit

WORDS = ("the", "panel", "doubts", "every", "claim", "until", "somebody", "shows", "the", "figures", "and", "weighs")


def said(chunks, max_tokens):
    """What comes of the chunks, and whether the reply was ended early."""
    limit = TokenLimit(max_tokens)
    text = ""
    for chunk in chunks:
        text += limit.allow([chunk])
        if limit.reached:
            return text, True
    return text, False


def tokens(count):
    return [(" " if place else "") + WORDS[place % len(WORDS)] for place in range(count)]


@given(st.integers(1, 300), st.integers(1, 300))
def test_tokens_that_come_one_by_one_are_cut_at_exactly_the_limit(sent, max_tokens):
    text, cut = said(tokens(sent), max_tokens)

    assert text == "".join(tokens(min(sent, max_tokens)))
    assert cut is (sent > max_tokens)


def test_no_reply_is_as_long_as_event_ids_may_say():
    """However the provider cuts it and whatever is in it."""
    [most] = [bound.le for bound in AgentParams.model_fields["max_tokens"].metadata if hasattr(bound, "le")]
    for chunk in ("e" * 400, "é", ". ", "\n"):
        text, is_cut = said([chunk] * (MOST_CHARACTERS_SPOKEN // len(chunk)), most)
        assert is_cut
        assert len(text) < MOST_CHARACTERS_SPOKEN


@given(st.integers(16, 300), st.one_of(st.integers(1, 3), st.integers(8, 400)))
def test_a_reply_within_its_limit_stands_however_it_is_cut(max_tokens, size):
    whole = "".join(tokens(max_tokens))
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]

    assert said(chunks, max_tokens) == (whole, False)


@pytest.mark.parametrize("token", ["12", "日本", "🦊", " Haus", "\n\n", ")", " a", "    ", ".\n\n"])
def test_tokens_of_all_kinds_do_not_end_a_reply_early(token):
    assert said([token] * 200, 200) == (token * 200, False)


def test_rulers_and_tables_within_prose_do_not_end_a_reply_early():
    chunks = [*tokens(100), *["\n", "-" * 64, "\n", "|", " ---", " |"] * 10, *[" " * 16, "return"] * 20]

    assert said(chunks, len(chunks))[1] is False
    assert said(["".join(chunks)], len(chunks))[1] is False


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 80))
def test_how_many_chunks_arrive_together_makes_no_difference(sent, max_tokens, together):
    chunks, limit, text = tokens(sent), TokenLimit(max_tokens), ""
    for start in range(0, sent, together):
        text += limit.allow(chunks[start : start + together])

    assert (text, limit.reached) == said(chunks, max_tokens)


@pytest.mark.parametrize("chunk", ["a", " ", "\n", "", "😀", "word ", "x" * 100_000])
def test_nothing_goes_on_for_ever(chunk):
    limit, sent = TokenLimit(50), 0
    while not limit.reached:
        limit.allow([chunk])
        sent += 1

    assert sent <= 50 * MOST_CHUNKS_PER_TOKEN + 1


def test_one_huge_chunk_is_cut_in_its_midst():
    text, cut = said(["word " * 10_000], 50)

    assert cut
    assert 50 <= len(text.split()) < 400
