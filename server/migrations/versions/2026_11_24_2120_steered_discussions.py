"""Steered discussions: pausing, seats that come and go, deadlines, whispers, forks, budgets of a day.

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_UUIDS = postgresql.ARRAY(sa.UUID())
_DISCUSSIONS = (
    sa.Column("on_turn_failure", sa.Text(), server_default=sa.text("'pause'"), nullable=False),
    sa.Column("waiting", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column("parent_id", sa.UUID(), nullable=True),
    sa.Column("parent_seq", sa.Integer(), nullable=True),
    sa.Column("policy_state", postgresql.JSONB(), nullable=True),
    sa.Column("pause_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    sa.Column("floor_id", sa.UUID(), nullable=True),
    sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("wrap_up", sa.Text(), nullable=True),
    sa.Column("warned", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column("failed_in_a_row", sa.Integer(), server_default=sa.text("0"), nullable=False),
)
_PARTICIPANTS = (
    sa.Column("joined_turn", sa.Integer(), server_default=sa.text("0"), nullable=False),
    sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("stands_in_for", sa.UUID(), nullable=True),
    sa.Column("model", sa.Text(), nullable=True),
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in _DISCUSSIONS:
        op.add_column("discussions", column)
    for column in _PARTICIPANTS:
        op.add_column("participants", column)
    op.add_column("messages", sa.Column("visible_to", _UUIDS, nullable=True))
    op.add_column("discussion_events", sa.Column("visible_to", _UUIDS, nullable=True))
    op.create_foreign_key(
        op.f("fk_discussions_parent_id"), "discussions", "discussions", ["parent_id"], ["id"], ondelete="SET NULL"
    )
    # No row has these columns set yet: the indexes are made empty and at once.
    op.create_index(
        "ix_discussions_deadline_at",
        "discussions",
        ["deadline_at"],
        postgresql_where=sa.text("deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_discussions_parent_id", "discussions", ["parent_id"], postgresql_where=sa.text("parent_id IS NOT NULL")
    )
    _create_budgets()


def _create_budgets() -> None:
    op.create_table(
        "daily_spending",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.UUID(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_usd", sa.Numeric(16, 8), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("scope", "scope_id", "day", name=op.f("pk_daily_spending")),
    )
    op.create_table(
        "reservations",
        sa.Column("discussion_id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Numeric(16, 8), nullable=False),
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["discussion_id"], ["discussions.id"], name=op.f("fk_reservations_discussion_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("discussion_id", name=op.f("pk_reservations")),
    )
    op.create_index("ix_reservations_workspace_id", "reservations", ["workspace_id"])
    op.create_index("ix_reservations_user_id", "reservations", ["user_id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("reservations")
    op.drop_table("daily_spending")
    op.drop_index("ix_discussions_parent_id", table_name="discussions")
    op.drop_index("ix_discussions_deadline_at", table_name="discussions")
    op.drop_constraint(op.f("fk_discussions_parent_id"), "discussions", type_="foreignkey")
    op.drop_column("discussion_events", "visible_to")
    op.drop_column("messages", "visible_to")
    for column in reversed(_PARTICIPANTS):
        op.drop_column("participants", column.name)
    for column in reversed(_DISCUSSIONS):
        op.drop_column("discussions", column.name)
