"""What PostgreSQL holds of a discussion, read past the application: its row, its log, its messages and turns."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row


@dataclass(frozen=True, slots=True)
class Record:
    """One discussion; events and rows as dicts of their columns, in their order."""

    discussion: dict[str, Any]
    events: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    turns: list[dict[str, Any]]


_DISCUSSION = "SELECT status, end_reason, turn, last_seq FROM discussions WHERE id = %s"
_EVENTS = "SELECT seq, type, payload AS data FROM discussion_events WHERE discussion_id = %s ORDER BY seq"
_MESSAGES = (
    "SELECT id::text, seq, turn, attempt, content, status FROM messages WHERE discussion_id = %s ORDER BY seq, id"
)
_TURNS = "SELECT turn, attempt, message_id::text, outcome FROM turns WHERE discussion_id = %s ORDER BY turn"


def read_record(database_url: str, discussion_id: str) -> Record:
    """Read it in one snapshot."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

        def ask(statement: str) -> list[dict[str, Any]]:
            return connection.execute(statement, [discussion_id]).fetchall()

        [discussion] = ask(_DISCUSSION)
        return Record(discussion, ask(_EVENTS), ask(_MESSAGES), ask(_TURNS))
