"""What has been seen of transactions that commit in whatever order: everything once, however often one comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.seen import Seen, numbers_of
from app.services.live.notices import event_id_of, seen_of
from app.services.live.position import BadEventId

FIRST = 100


@st.composite
def histories(draw):
    """Moments, each the transactions that have committed by then, of a growing number begun; commits in any order."""
    order = draw(st.permutations(range(FIRST, FIRST + draw(st.integers(1, 12)))))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), min_size=1, max_size=6)))
    moments, begun = [], FIRST
    for cut in [*cuts, len(order)]:
        committed = set(order[:cut])
        begun = max([begun, *(xid + 1 for xid in committed)])
        begun = draw(st.integers(begun, max(begun, FIRST + len(order))))
        moments.append((committed, Seen.of(begun, set(range(FIRST, begun)) - committed)))
    return moments


@given(history=histories(), page=st.integers(1, 3))
def test_each_commit_is_told_once_whatever_the_order_and_however_small_the_pages(history, page):
    seen, told = Seen.of(FIRST, ()), []
    for committed, now in history:
        new = sorted(xid for xid in committed if not seen.includes(xid))
        for xid in new[:page]:
            seen = seen_of(event_id_of(seen.told_upto(xid, now)))
            told.append(xid)
            assert seen.includes(xid)
    committed, now = history[-1]
    rest = sorted(xid for xid in committed if not seen.includes(xid))

    assert sorted([*told, *rest]) == sorted(committed)
    assert Seen.parse(str(now)) == now


@pytest.mark.parametrize("text", ["5:5:", "3:9:3,7", "1:1000:1"])
def test_a_snapshot_is_written_as_postgresql_does(text):
    assert str(Seen.parse(text)) == text


@given(garbage=st.text())
def test_garbage_is_no_id_of_a_notice(garbage):
    with pytest.raises(BadEventId):
        seen_of(garbage)


@pytest.mark.parametrize("numbers", [(), (0,), (5, 5), (5, 0), (5, 9), (10**18,)])
def test_numbers_that_no_snapshot_holds_are_refused(numbers):
    with pytest.raises(BadEventId):
        seen_of(event_id_of(Seen(numbers[0], numbers[1:])) if numbers else "")


def test_an_id_holds_what_makes_it_again():
    seen = Seen.of(9, [7, 3])

    assert numbers_of(seen) == (9, 3, 7)
    assert seen_of(event_id_of(seen)) == seen
