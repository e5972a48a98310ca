"""What becomes of chunks when a document changes."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.domain.chunk_changes import changes, hash_of

CONTENTS = st.lists(st.sampled_from("abcde"), max_size=12)


def chunks(contents):
    return [(UUID(int=number), hash_of(text)) for number, text in enumerate(contents)]


@given(CONTENTS, CONTENTS)
def test_each_piece_has_one_chunk_and_each_chunk_that_says_the_same_stays(before, after):
    present, wanted = chunks(before), [hash_of(text) for text in after]

    found = changes(present, wanted)

    kept = dict(found.kept)
    assert sorted([*kept.values(), *found.added]) == list(range(len(after)))
    assert {*kept, *found.gone} == {chunk_id for chunk_id, _ in present}
    assert all(dict(present)[chunk_id] == wanted[place] for chunk_id, place in found.kept)
    assert len(found.kept) == sum(min(before.count(text), after.count(text)) for text in set(after))


@given(CONTENTS, CONTENTS)
def test_done_twice_it_is_as_done_once(before, after):
    present, wanted = chunks(before), [hash_of(text) for text in after]
    first = changes(present, wanted)
    by_place = {place: chunk_id for chunk_id, place in first.kept}
    now = [(by_place.get(place, UUID(int=1000 + place)), wanted[place]) for place in range(len(after))]

    again = changes(now, wanted)

    assert (again.added, again.gone) == ([], [])
    assert {place: chunk_id for chunk_id, place in again.kept} == dict(enumerate(chunk_id for chunk_id, _ in now))
