"""The audit log as a file: nothing in it is computed by the spreadsheet that opens it."""

import csv
import io
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from app.core.ids import first_id_at, new_id
from app.domain.audit import Action
from app.schemas.audit import AuditEventRead
from app.services.audit_export import COLUMNS, as_csv, safe_cell


def event(**changes):
    known = dict.fromkeys(COLUMNS)
    now = datetime.now(UTC)
    made = {"id": uuid4(), "created_at": now, "action": "login.failed", "outcome": "failed", "detail": {}}
    return AuditEventRead(**{**known, **made, **changes})


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_would_be_a_formula_is_text(text):
    assert safe_cell(text) == f"'{text}"
    [row] = csv.reader(io.StringIO(as_csv([event(request_id=text)]).decode(), newline=""))
    assert row[COLUMNS.index("request_id")] == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "1-1", "x@arena.example"])
def test_any_other_cell_stays_as_it_is(text):
    assert safe_cell(text) == text


def test_quotes_commas_and_line_breaks_stay_in_their_cell():
    odd = 'a "word", and\r\nanother'
    [row] = csv.reader(io.StringIO(as_csv([event(address=odd, detail={"reason": odd})]).decode(), newline=""))

    assert row[COLUMNS.index("address")] == odd
    assert len(row) == len(COLUMNS)


def test_every_deed_says_what_it_was_done_to():
    accounts = {"session", "user", "api_key", "workspace", "audit"}
    things = {"agent", "base", "document", "extraction", "memory", "discussion", "provider", "tool_server", "keys"}
    assert {action.target_type for action in Action} == accounts | things


def test_ids_made_later_are_not_less_than_the_first_of_a_moment():
    before = datetime.now(UTC)
    made = new_id()

    assert first_id_at(before) <= made
    assert made.int < first_id_at(datetime.now(UTC)).int + (2 << 80)
    assert first_id_at(datetime(1, 1, 1, tzinfo=UTC)).version == 7
