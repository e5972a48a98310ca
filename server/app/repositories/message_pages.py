"""A page of messages as it goes over the wire, whole in one statement.

PostgreSQL writes the rows as JSON at a fraction of what it takes to send them over, make objects of them and write
those; it also looks, by the way, whether there is such a discussion and which seats are the reader's. What it writes is
`schemas.message.MessageRead` to the letter, which a test holds it to.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from app.core.cursors import decode_numbers
from app.core.errors import NotFound
from app.repositories.base import Repository
from app.repositories.messages import cursor_at, list_name

BEFORE_ALL, AFTER_ALL = 0, 2**31 - 1


def _statement(order: str, beyond: str) -> TextClause:
    # nosemgrep: sql-is-not-put-together - of constants of this module
    return text(
        f"""
        WITH found AS MATERIALIZED (
            SELECT row_number() OVER (ORDER BY seq {order}) AS n, page.* FROM (
                SELECT * FROM messages
                WHERE workspace_id = :workspace_id AND discussion_id = :discussion_id AND seq {beyond} :position
                  AND (visible_to IS NULL OR :sees_all OR visible_to && ARRAY(
                    SELECT id FROM participants
                    WHERE workspace_id = :workspace_id AND discussion_id = :discussion_id AND user_id = :user_id
                  ))
                ORDER BY seq {order} LIMIT CAST(:shown AS int) + 1
            ) page
        )
        SELECT
            (SELECT string_agg(written.message, ',' ORDER BY n) FROM found, LATERAL (
                SELECT row_to_json(wire)::text AS message FROM (
                    SELECT found.id, seq, turn, attempt, participant_id, handle, name, kind, content, status, reply_to,
                        visible_to, coalesce(citations, '[]') AS citations, dropped_citations,
                        coalesce(tools, '[]') AS tools, parsed,
                        CASE WHEN completion_tokens IS NOT NULL THEN json_build_object(
                            'prompt_tokens', coalesce(prompt_tokens, 0), 'completion_tokens', completion_tokens,
                            'cost_usd', coalesce(cost_usd, 0)::float8
                        ) END AS usage,
                        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\\:MI\\:SS.US"Z"') AS created_at
                ) wire
            ) written WHERE n <= :shown) AS items,
            (SELECT seq FROM found WHERE n = :shown AND EXISTS (SELECT FROM found WHERE n > :shown)) AS last_seq,
            discussions.last_seq AS log_end, discussions.status
        FROM discussions WHERE workspace_id = :workspace_id AND id = :discussion_id
        """  # noqa: S608 - nothing in it comes from a caller
    )


_STATEMENTS = {False: _statement("ASC", ">"), True: _statement("DESC", "<")}


@dataclass(frozen=True, slots=True)
class PageOf:
    """Which page of a discussion's messages; `cursor` None: the first."""

    discussion_id: UUID
    newest_first: bool
    limit: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Messages as JSON, separated by commas, the cursor of the rest, and how the discussion stood then."""

    items: str
    following: str | None
    log_end: int
    status: str


class MessagePageRepository(Repository):
    """Pages of the messages of the workspace's discussions."""

    async def get(self, page: PageOf, user_id: UUID, *, sees_all: bool) -> FoundPage:
        """What the user may read; raise `NotFound` or `BadCursor`."""
        position = AFTER_ALL if page.newest_first else BEFORE_ALL
        if page.cursor is not None:
            [position] = decode_numbers(page.cursor, list_name(page.newest_first))
        values: dict[str, Any] = {
            "workspace_id": self._workspace_id,
            "discussion_id": page.discussion_id,
            "user_id": user_id,
            "sees_all": sees_all,
            "position": position,
            "shown": page.limit,
        }
        row = (await self._session.execute(_STATEMENTS[page.newest_first], values)).one_or_none()
        if row is None:
            raise NotFound("there is no such discussion")
        following = None if row.last_seq is None else cursor_at(row.last_seq, newest_first=page.newest_first)
        return FoundPage(row.items or "", following, row.log_end, row.status)
