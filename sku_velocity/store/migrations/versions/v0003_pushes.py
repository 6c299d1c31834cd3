"""The progress of each chunk's push to each slotting engine, and the classes sent to each engine."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pushes",
        _count("run_key", sa.Integer),
        _count("chunk_index", sa.Integer),
        _text("engine"),
        _text("state"),
        _count("next_position"),
        _count("batches", sa.Integer),
        sa.Column("until_position", sa.BigInteger),
        sa.Column("visible_ranges", sa.Text),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("is_refused", sa.Boolean, nullable=False),
        _count("accepted"),
        _count("rejected"),
        _count("requests", sa.Integer),
        _count("attempts", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("pushed_at", INSTANT),
        sa.PrimaryKeyConstraint("run_key", "chunk_index", "engine", name=op.f("pk_pushes")),
        sa.ForeignKeyConstraint(["run_key"], ["sync_runs.run_key"], name=op.f("fk_pushes_run_key")),
    )
    op.create_table(
        "sent_classes",
        _text("engine"),
        _text("source"),
        _text("warehouse_id"),
        _text("sku_id"),
        sa.Column("abc_lines", sa.Text),
        sa.Column("abc_units", sa.Text),
        sa.Column("xyz", sa.Text),
        sa.Column("reason", sa.Text),
        _count("revision", sa.Integer),
        sa.Column("sent_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("engine", "source", "warehouse_id", "sku_id", name=op.f("pk_sent_classes")),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False)
