"""What a driver holds in memory between its turns, as the rules see it."""

from uuid import uuid4

from app.domain.context import Utterance
from app.domain.limits import Limits
from tests.fixtures.rehearsal import Rehearsal, RehearsalCatalog

INTERJECTIONS = 30


def test_all_that_was_said_since_the_last_turn_reaches_the_rules_however_much_it_is():
    table = Rehearsal(RehearsalCatalog(), [(["x/m"], 100)], Limits()).table
    for number in range(5):
        table.heard(Utterance.of("a0", f"turn {number}", uuid4(), number + 1))
    for number in range(INTERJECTIONS):
        table.heard(Utterance.of("bob", f"interjection {number}", uuid4(), None))

    recent = table.history(table.state).recent

    assert [one.content for one in recent] == [f"interjection {number}" for number in reversed(range(INTERJECTIONS))]


def test_the_rules_see_the_latest_messages_and_not_all_of_them():
    table = Rehearsal(RehearsalCatalog(), [(["x/m"], 100)], Limits()).table
    for number in range(20):
        table.heard(Utterance.of("a0", f"turn {number}", uuid4(), number + 1))

    recent = table.history(table.state).recent

    assert len(recent) == table.rules.reach[0] < 20
    assert recent[0].content == "turn 19"
