"""The state of each dead letter, changed by whom and why; the rows of a pushed chunk replayed since."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("dead_letters", sa.Column("state", sa.Text, nullable=False, server_default="open"))
    op.add_column("dead_letters", sa.Column("changed_by", sa.Text))
    op.add_column("dead_letters", sa.Column("changed_at", INSTANT))
    op.add_column("dead_letters", sa.Column("note", sa.Text))
    op.add_column("pushes", sa.Column("replayed", sa.Text))
