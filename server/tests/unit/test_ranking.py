"""Making one ranking out of several, and reading what a person writes into a search box."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.highlights import places_of, words_of
from app.domain.ranking import continued, fuse, nudge, reorder
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


def test_a_weaker_ranking_decides_only_between_what_is_close():
    assert [*nudge([("a", 10.0), ("b", 9.99)], "ba", 0.15)] == ["b", "a"]
    assert [*nudge([("a", 10.0), ("b", 5.0)], "ba", 0.15)] == ["a", "b"]


def test_what_a_weaker_ranking_alone_has_comes_after_what_is_anywhere_near_the_best():
    scores = nudge([("a", 10.0), ("b", 2.0), ("c", 0.1)], "xa", 0.15)

    assert [*scores] == ["a", "b", "x", "c"]
    assert 0 < scores["x"] < 0.15 < scores["a"] < 1


def test_first_in_both_is_one_and_nothing_by_words_leaves_the_other_as_it_is():
    assert nudge([("a", 3.0)], "ab", 0.15)["a"] == 1
    assert [*nudge([], "bac", 0.15)] == [*"bac"]
    assert [*nudge([("a", 0.0)], "b", 0.15)] == ["b"]
    assert not nudge([], "", 0.15)


def test_behind_the_first_places_others_follow_in_their_order_and_score_no_higher():
    scores = continued({"a": 0.9, "b": 0.5, "c": 0.4}, {"x": 1.0, "b": 0.8, "c": 0.7}, 2)

    assert [*scores] == ["a", "b", "x", "c"]
    assert scores == {"a": 0.9, "b": 0.5, "x": 0.5, "c": 0.35}
    assert continued({}, {"x": 0.3}, 2) == {"x": 0.3}


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
