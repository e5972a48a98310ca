"""Who is told that a claim is lost."""

from uuid import uuid4

from app.repositories.turns import Claim
from app.services.turns.leases import LeaseKeeper


def test_the_driver_of_an_older_claim_is_told_as_soon_as_the_same_worker_claims_the_discussion_again():
    """Only the newest claim of a discussion is renewed, so nothing else would tell it."""
    keeper, older = LeaseKeeper(None, 3), Claim(uuid4(), uuid4(), 1)
    newer = Claim(older.discussion_id, older.workspace_id, 2)

    with keeper.hold(older) as first, keeper.hold(newer) as second:
        assert first.lost.is_set()
        assert first.disturbed.is_set()
        assert not second.lost.is_set()


def test_a_claim_that_ended_says_nothing_to_the_next_one():
    keeper, claim = LeaseKeeper(None, 3), Claim(uuid4(), uuid4(), 1)
    with keeper.hold(claim) as first:
        pass
    with keeper.hold(Claim(claim.discussion_id, claim.workspace_id, 2)):
        assert not first.lost.is_set()
