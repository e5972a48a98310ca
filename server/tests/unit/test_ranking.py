"""Making one ranking out of several, and reading what a person writes into a search box."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.highlights import places_of, words_of
from app.domain.ranking import fuse, reorder
from app.domain.search_query import SearchQuery, read_query

RANKINGS = st.lists(st.permutations("abcdef").map(lambda keys: keys[:4]), min_size=1, max_size=4)


def test_what_both_rankings_have_comes_before_what_one_has():
    assert next(iter(fuse([(1, "abc"), (1, "xbz")]))) == "b"


def test_a_ranking_that_counts_less_moves_less():
    assert [*fuse([(1, "ab"), (0.25, "ba")])] == ["a", "b"]
    assert [*fuse([(0.25, "ab"), (1, "ba")])] == ["b", "a"]


def test_first_in_all_rankings_is_one():
    assert fuse([(1, "ab"), (0.25, "ac")])["a"] == 1


@given(rankings=RANKINGS)
def test_whoever_is_nowhere_behind_another_is_not_behind_it_in_the_end(rankings):
    scores = fuse([(1.0, ranking) for ranking in rankings])

    def places(key):
        return [ranking.index(key) if key in ranking else 99 for ranking in rankings]

    for one in scores:
        for other in scores:
            if all(mine <= theirs for mine, theirs in zip(places(one), places(other), strict=True)):
                assert scores[one] >= scores[other]
    assert [*scores] == sorted(scores, key=lambda key: -scores[key])


@given(numbers=st.lists(st.integers(-3, 9)))
def test_reordering_loses_and_doubles_nothing(numbers):
    assert sorted(reorder("abcde", numbers)) == [*"abcde"]


def test_numbers_that_are_given_come_first_in_their_order():
    assert reorder("abcd", [3, 9, 3, 1]) == [*"cabd"]


def test_quotes_and_minuses_mean_something_only_where_they_stand_alone():
    assert read_query('four "day week" -hybrid') == SearchQuery("four  day week", ("day week",), ("hybrid",))
    assert read_query('-"day week" off').excluded == ("day week",)
    assert read_query('state-of-the-art - a 5" pipe') == SearchQuery('state-of-the-art - a 5" pipe')


def test_words_are_marked_wherever_they_are_whole():
    text = "Cafés, CAFÉS; cafe\u0301s and decafés."
    assert "cafés" in words_of([text])
    assert [text[start:end] for start, end in places_of({"cafés", "cafe\u0301s"}, text)] == [
        "Cafés",
        "CAFÉS",
        "cafe\u0301s",
    ]
