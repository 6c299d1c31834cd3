"""The items of a master and their aliases, their views, and the version that a run maps by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ITEMS_VIEW = """
CREATE VIEW published_items AS
SELECT p.source, i.sku_id, i.status, i.description, i.unit_volume, r.flow_run_id, i.position
FROM published_ranges p
JOIN sync_runs r ON r.run_key = p.run_key
JOIN items i ON i.run_key = p.run_key
"""

ALIASES_VIEW = """
CREATE VIEW published_aliases AS
SELECT p.source, a.alias, i.sku_id, i.status
FROM published_ranges p
JOIN item_aliases a ON a.run_key = p.run_key
JOIN items i ON i.run_key = a.run_key AND i.position = a.position
"""


def upgrade() -> None:
    op.add_column("sync_runs", sa.Column("master", sa.Text))
    op.add_column("chunks", sa.Column("unknown_skus", sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "items",
        sa.Column("run_key", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("sku_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("unit_volume", sa.Float),
        sa.PrimaryKeyConstraint("run_key", "position", name=op.f("pk_items")),
        sa.ForeignKeyConstraint(["run_key"], ["sync_runs.run_key"], name=op.f("fk_items_run_key")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "item_aliases",
        sa.Column("run_key", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_key", "position", "ordinal", name=op.f("pk_item_aliases")),
        sa.ForeignKeyConstraint(["run_key"], ["sync_runs.run_key"], name=op.f("fk_item_aliases_run_key")),
        sqlite_with_rowid=False,
    )
    op.execute(ITEMS_VIEW)
    op.execute(ALIASES_VIEW)
