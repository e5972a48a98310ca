"""Whose address those who manage a workspace were told: an id, which every colleague sees, is not enough to see it.

Revision ID: 0006
Revises: 0005
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("memberships", sa.Column("is_address_told", sa.Boolean, server_default=sa.false(), nullable=False))
    op.execute(
        "UPDATE memberships SET is_address_told = true FROM workspaces"
        " WHERE workspaces.id = workspace_id AND personal_of = user_id"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("memberships", "is_address_told")
