"""Which memories come to mind, which say the same, and which are forgotten."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.memories import Fact, Trace, beyond_room, first_to_mind, says_the_same

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def trace(number=1, *, importance=0.5, hours=0.0, recalled_hours=None, relevance=0.0):
    recalled_at = None if recalled_hours is None else NOW - timedelta(hours=recalled_hours)
    return Trace(UUID(int=number), importance, NOW - timedelta(hours=hours), recalled_at, relevance)


def order(*traces, k=10):
    return [one.memory_id.int for one, _score in first_to_mind(traces, NOW, k)]


def test_what_is_more_relevant_comes_first():
    assert order(trace(1, relevance=0.2), trace(2, relevance=0.8), trace(3, relevance=0.5)) == [2, 3, 1]


def test_of_what_is_equally_relevant_the_more_important_comes_first():
    assert order(trace(1, importance=0.2), trace(2, importance=0.9)) == [2, 1]


def test_what_came_to_mind_lately_comes_before_what_is_only_newer():
    assert order(trace(1, hours=200), trace(2, hours=900, recalled_hours=1)) == [2, 1]


def test_no_more_come_to_mind_than_are_asked_for():
    assert order(trace(1), trace(2), trace(3), k=2) == [3, 2]


@given(st.floats(0, 1), st.floats(0, 10**6), st.floats(-1.01, 1.01), st.one_of(st.none(), st.floats(-100, 10**6)))
def test_a_score_is_between_nothing_and_one_whatever_the_clock_says(importance, hours, relevance, recalled_hours):
    one = trace(importance=importance, hours=hours, relevance=relevance, recalled_hours=recalled_hours)

    assert 0 <= one.score(NOW) <= 1


def test_a_day_takes_a_ninth_of_what_is_lately_remembered():
    assert trace(hours=24).recency(NOW) == pytest.approx(0.887, abs=0.001)


def test_nothing_is_forgotten_while_there_is_room():
    assert beyond_room([trace(1), trace(2)], NOW, most=2) == []


def test_what_is_least_important_and_longest_not_recalled_is_forgotten_first():
    kept = [trace(1, importance=0.9, hours=10**4), trace(2, importance=0.3, hours=10**4, recalled_hours=0)]
    lost = [trace(3, importance=0.3, hours=10**4), trace(4, importance=0.2, hours=10**4)]

    assert [one.int for one in beyond_room([*kept, *lost], NOW, most=2)] == [4, 3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The team spends 40% on rent.", "The team spends 40% on rent"),
        ("The team spends 40% on rent.", "Our team spends 40% of its money on rent."),
        ("Rent is 40% in Berlin.", "In Berlin rent is 40%."),
        ("Ada prefers to work from home", "ada prefers to work at home"),
        ("Das Team zieht im März nach Wien um.", "Das Team zieht im März nach Wien."),
    ],
)
def test_the_same_fact_in_nearly_the_same_words_is_one(one, other):
    assert says_the_same(one, other)
    assert says_the_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The team spends 40% on rent.", "The team spends 50% on rent."),
        ("The budget is 1,200 euros", "The budget is 1,300 euros"),
        ("Ada likes tea.", "Ada does not like tea."),
        ("They can pay.", "They can't pay."),
        ("Das Team mag Wien.", "Das Team mag Wien nicht."),
        ("Ada trusts Bob.", "Bob trusts Ada."),
        ("Ada Lovelace says that Bob Miller is right here", "Bob Miller says that Ada Lovelace is right here"),
        ("Ada likes tea.", "Bob likes tea."),
        ("cats chase dogs", "dogs chase cats"),
        ("The office stays open.", "Whether the rent rises depends on the city."),
        ("", "Something"),
        ("?!", "…"),
    ],
)
def test_facts_that_differ_in_a_number_a_name_a_denial_or_who_did_it_are_two(one, other):
    assert not says_the_same(one, other)
    assert not says_the_same(other, one)


@given(st.text(max_size=60), st.text(max_size=60))
def test_whether_two_say_the_same_does_not_depend_on_which_comes_first(one, other):
    assert says_the_same(one, other) == says_the_same(other, one)


FACTS = st.builds(
    Fact,
    st.text(min_size=1, max_size=20),
    st.floats(0, 1),
    st.dictionaries(st.integers(1, 4).map(lambda n: UUID(int=n)), st.frozensets(st.integers(1, 9), min_size=1)),
    st.booleans(),
)


@given(FACTS, FACTS)
def test_joining_loses_no_source_no_importance_and_no_wording_of_a_persons(kept, heard):
    joined = kept.joined(heard)

    assert joined.content in {kept.content, heard.content}
    assert max(kept.importance, heard.importance) <= joined.importance <= 1
    for fact in (kept, heard):
        for discussion_id, seqs in fact.sources.items():
            assert seqs <= joined.sources[discussion_id]
    assert set(joined.sources) == set(kept.sources) | set(heard.sources)
    if kept.is_worded_by_person:
        assert joined.content == kept.content
    elif not heard.is_worded_by_person:
        assert len(joined.content) == max(len(kept.content), len(heard.content))


@given(FACTS, st.lists(FACTS, max_size=5))
def test_in_whichever_order_sources_are_joined_they_are_the_same(fact, others):
    forwards, backwards = fact, fact
    for other in others:
        forwards = forwards.joined(other)
    for other in reversed(others):
        backwards = backwards.joined(other)

    assert forwards.sources == backwards.sources
