"""Runs, ledger, movements, dead letters, published ranges, locks, and the view `published_movements`."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

# The range's warehouse, not the row's: they are equal, and a filter on it selects the ranges first.
VIEW = """
CREATE VIEW published_movements AS
SELECT p.source, p.warehouse_id, m.sku_id, m.units_moved, m.timestamp_utc, m.movement_id,
       r.flow_run_id, m.position
FROM published_ranges p
JOIN sync_runs r ON r.run_key = p.run_key
JOIN movements m ON m.run_key = p.run_key
                AND m.timestamp_utc >= p.range_start AND m.timestamp_utc < p.range_end
"""


def upgrade() -> None:
    op.create_table(
        "sync_runs",
        sa.Column("run_key", sa.Integer, nullable=False),
        _text("flow_run_id"),
        _text("source"),
        _text("warehouse_id"),
        sa.Column("window_start", INSTANT, nullable=False),
        sa.Column("window_end", INSTANT, nullable=False),
        sa.Column("total", sa.BigInteger),
        _text("state"),
        _count("repairs", sa.Integer),
        _count("plan_number", sa.Integer),
        sa.Column("mapping_digest", sa.Text),
        sa.Column("held_rows", sa.BigInteger),
        sa.Column("verdict", sa.Text),
        sa.Column("report", sa.Text),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_sync_runs")),
        sa.UniqueConstraint("flow_run_id", name=op.f("uq_sync_runs_flow_run_id")),
    )
    op.create_table(
        "chunks",
        _count("run_key", sa.Integer),
        _count("chunk_index", sa.Integer),
        _count("start_offset"),
        _count("size"),
        _count("page_size", sa.Integer),
        _count("overlap", sa.Integer),
        _count("next_offset"),
        _text("state"),
        _count("attempts", sa.Integer),
        _count("fetched"),
        _count("loaded"),
        _count("rejected"),
        _count("trimmed"),
        _count("filtered"),
        _count("requests", sa.Integer),
        _count("retried", sa.Integer),
        _count("throttled", sa.Integer),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("first_fingerprint", sa.Text),
        sa.Column("last_fingerprint", sa.Text),
        _count("broken_seams", sa.Integer),
        _count("ambiguous_seams", sa.Integer),
        _count("equal_rows", sa.Integer),
        _text("page_edges"),
        _text("page_totals"),
        sa.Column("cursor_token", sa.Text),
        _text("extra_fields"),
        _text("dropped_values"),
        sa.Column("error", sa.Text),
        sa.Column("landed_at", INSTANT),
        sa.PrimaryKeyConstraint("run_key", "chunk_index", name=op.f("pk_chunks")),
        _run_foreign_key("chunks"),
    )
    op.create_table(
        "movements",
        _count("run_key", sa.Integer),
        _count("position"),
        sa.Column("movement_id", sa.Text),
        _text("sku_id"),
        _text("warehouse_id"),
        _count("units_moved"),
        sa.Column("timestamp_utc", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("run_key", "position", name=op.f("pk_movements")),
        _run_foreign_key("movements"),
        sa.CheckConstraint("units_moved >= 0", name=op.f("ck_movements_units_moved")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unloaded_ids",
        _count("run_key", sa.Integer),
        _count("position"),
        _text("record_id"),
        sa.PrimaryKeyConstraint("run_key", "position", name=op.f("pk_unloaded_ids")),
        _run_foreign_key("unloaded_ids"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dead_letters",
        _count("run_key", sa.Integer),
        sa.Column("stage", sa.Text, nullable=False, server_default="validation"),
        _count("position"),
        _text("record_json"),
        _text("reasons"),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("run_key", "stage", "position", name=op.f("pk_dead_letters")),
        _run_foreign_key("dead_letters"),
    )
    op.create_table(
        "published_ranges",
        _text("source"),
        _text("warehouse_id"),
        sa.Column("range_start", INSTANT, nullable=False),
        sa.Column("range_end", INSTANT, nullable=False),
        _count("run_key", sa.Integer),
        sa.PrimaryKeyConstraint("source", "warehouse_id", "range_start", name=op.f("pk_published_ranges")),
        _run_foreign_key("published_ranges"),
        sa.CheckConstraint("range_start < range_end", name=op.f("ck_published_ranges_range")),
    )
    op.create_index(op.f("ix_published_ranges_run_key"), "published_ranges", ["run_key"])
    op.create_table(
        "publishing_locks",
        _text("source"),
        _text("warehouse_id"),
        _count("times_taken"),
        sa.PrimaryKeyConstraint("source", "warehouse_id", name=op.f("pk_publishing_locks")),
    )
    op.execute(VIEW)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False)


def _run_foreign_key(table: str) -> Any:
    return sa.ForeignKeyConstraint(["run_key"], ["sync_runs.run_key"], name=op.f(f"fk_{table}_run_key"))
