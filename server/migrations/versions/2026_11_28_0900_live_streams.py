"""Live streams: tickets for WebSockets, and a workspace's changes of status in the order of their transactions.

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "socket_tickets",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.UUID(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_socket_tickets_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_socket_tickets")),
    )
    op.create_index("ix_socket_tickets_session_id", "socket_tickets", ["session_id"])
    op.create_index("ix_socket_tickets_expires_at", "socket_tickets", ["expires_at"])
    # The default is stable: it is evaluated once, and no row is rewritten.
    op.execute("ALTER TABLE discussion_events ADD COLUMN xid xid8 DEFAULT pg_current_xact_id() NOT NULL")
    op.create_index(
        "ix_discussion_events_status",
        "discussion_events",
        ["workspace_id", "xid"],
        postgresql_where=sa.text(
            "type IN ('discussion.created', 'discussion.forked', 'discussion.started', 'discussion.waiting', "
            "'discussion.paused', 'discussion.resumed', 'discussion.ended')"
        ),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_discussion_events_status", table_name="discussion_events")
    op.drop_column("discussion_events", "xid")
    op.drop_table("socket_tickets")
