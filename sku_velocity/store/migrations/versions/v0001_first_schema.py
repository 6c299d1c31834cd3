"""The whole schema: tables and views."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

# The range's warehouse, not the row's: they are equal, and a filter on it selects the ranges first.
MOVEMENTS_VIEW = """
CREATE VIEW published_movements AS
SELECT p.source, p.warehouse_id, m.sku_id, m.units_moved, m.timestamp_utc, m.movement_id,
       r.run_id, m.position
FROM published_ranges p
JOIN sync_runs r ON r.run_key = p.run_key
JOIN movements m ON m.run_key = p.run_key
                AND m.timestamp_utc >= p.range_start AND m.timestamp_utc < p.range_end
"""

ITEMS_VIEW = """
CREATE VIEW published_items AS
SELECT p.source, i.sku_id, i.status, i.description, i.unit_volume, r.run_id, i.position
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

# A warehouse whose newest refresh found nothing has no rows, instead of those of the refresh before.
VELOCITY_VIEW = """
CREATE VIEW current_velocity AS
SELECT v.*
FROM sku_velocity v
JOIN (
    SELECT source, warehouse_id, max(as_of) AS as_of FROM velocity_refreshes GROUP BY source, warehouse_id
) r ON r.source = v.source AND r.warehouse_id = v.warehouse_id AND r.as_of = v.as_of
"""


def upgrade() -> None:
    _create_runs()
    _create_rows()
    _create_ranges()
    _create_pushes()
    _create_velocity()
    for view in (MOVEMENTS_VIEW, ITEMS_VIEW, ALIASES_VIEW, VELOCITY_VIEW):
        op.execute(view)


def _create_runs() -> None:
    op.create_table(
        "sync_runs",
        sa.Column("run_key", sa.Integer, nullable=False),
        *_texts("run_id"),
        sa.Column("flow_run_id", sa.Text),
        *_texts("source", "warehouse_id"),
        sa.Column("window_start", INSTANT, nullable=False),
        sa.Column("window_end", INSTANT, nullable=False),
        sa.Column("total", sa.BigInteger),
        *_texts("state"),
        *_integers("repairs", "plan_number"),
        sa.Column("mapping_digest", sa.Text),
        sa.Column("held_rows", sa.BigInteger),
        sa.Column("master", sa.Text),
        sa.Column("verdict", sa.Text),
        sa.Column("report", sa.Text),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("superseded_at", INSTANT),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_sync_runs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_sync_runs_run_id")),
    )
    op.create_index(op.f("ix_sync_runs_flow_run_id"), "sync_runs", ["flow_run_id"])
    op.create_table(
        "chunks",
        *_integers("run_key", "chunk_index"),
        *_counts("start_offset", "size"),
        *_integers("page_size", "overlap"),
        *_counts("next_offset"),
        *_texts("state"),
        *_integers("attempts"),
        *_counts("fetched", "loaded", "rejected", "trimmed", "filtered"),
        *_integers("requests", "retried", "throttled"),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("first_fingerprint", sa.Text),
        sa.Column("last_fingerprint", sa.Text),
        *_integers("broken_seams", "ambiguous_seams", "equal_rows"),
        *_texts("page_edges", "page_totals"),
        sa.Column("cursor_token", sa.Text),
        *_texts("extra_fields", "dropped_values"),
        sa.Column("unknown_skus", sa.Text, nullable=False, server_default="{}"),
        sa.Column("error", sa.Text),
        sa.Column("landed_at", INSTANT),
        sa.PrimaryKeyConstraint("run_key", "chunk_index", name=op.f("pk_chunks")),
        _run_foreign_key("chunks"),
    )


def _create_rows() -> None:
    op.create_table(
        "movements",
        *_integers("run_key"),
        *_counts("position"),
        sa.Column("movement_id", sa.Text),
        *_texts("sku_id", "warehouse_id"),
        *_counts("units_moved"),
        sa.Column("timestamp_utc", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("run_key", "position", name=op.f("pk_movements")),
        _run_foreign_key("movements"),
        sa.CheckConstraint("units_moved >= 0", name=op.f("ck_movements_units_moved")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unloaded_ids",
        *_integers("run_key"),
        *_counts("position"),
        *_texts("record_id"),
        sa.PrimaryKeyConstraint("run_key", "position", name=op.f("pk_unloaded_ids")),
        _run_foreign_key("unloaded_ids"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dead_letters",
        *_integers("run_key"),
        sa.Column("stage", sa.Text, nullable=False, server_default="validation"),
        *_counts("position"),
        *_texts("record_json", "reasons"),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="open"),
        sa.Column("changed_by", sa.Text),
        sa.Column("changed_at", INSTANT),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("run_key", "stage", "position", name=op.f("pk_dead_letters")),
        _run_foreign_key("dead_letters"),
    )
    op.create_table(
        "items",
        *_integers("run_key"),
        *_counts("position"),
        *_texts("sku_id", "status"),
        sa.Column("description", sa.Text),
        sa.Column("unit_volume", sa.Float),
        sa.PrimaryKeyConstraint("run_key", "position", name=op.f("pk_items")),
        _run_foreign_key("items"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "item_aliases",
        *_integers("run_key"),
        *_counts("position"),
        *_integers("ordinal"),
        *_texts("alias"),
        sa.PrimaryKeyConstraint("run_key", "position", "ordinal", name=op.f("pk_item_aliases")),
        _run_foreign_key("item_aliases"),
        sqlite_with_rowid=False,
    )


def _create_ranges() -> None:
    op.create_table(
        "published_ranges",
        *_texts("source", "warehouse_id"),
        sa.Column("range_start", INSTANT, nullable=False),
        sa.Column("range_end", INSTANT, nullable=False),
        *_integers("run_key"),
        sa.PrimaryKeyConstraint("source", "warehouse_id", "range_start", name=op.f("pk_published_ranges")),
        _run_foreign_key("published_ranges"),
        sa.CheckConstraint("range_start < range_end", name=op.f("ck_published_ranges_range")),
    )
    op.create_index(op.f("ix_published_ranges_run_key"), "published_ranges", ["run_key"])
    op.create_table(
        "publishing_locks",
        *_texts("source", "warehouse_id"),
        *_counts("times_taken"),
        sa.PrimaryKeyConstraint("source", "warehouse_id", name=op.f("pk_publishing_locks")),
    )


def _create_pushes() -> None:
    op.create_table(
        "pushes",
        *_integers("run_key", "chunk_index"),
        *_texts("engine", "state"),
        *_counts("next_position"),
        *_integers("batches"),
        sa.Column("until_position", sa.BigInteger),
        sa.Column("visible_ranges", sa.Text),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("is_refused", sa.Boolean, nullable=False),
        sa.Column("replayed", sa.Text),
        *_counts("accepted", "rejected"),
        *_integers("requests", "attempts"),
        sa.Column("error", sa.Text),
        sa.Column("pushed_at", INSTANT),
        sa.PrimaryKeyConstraint("run_key", "chunk_index", "engine", name=op.f("pk_pushes")),
        _run_foreign_key("pushes"),
    )
    op.create_table(
        "sent_classes",
        *_texts("engine", "source", "warehouse_id", "sku_id"),
        sa.Column("abc_lines", sa.Text),
        sa.Column("abc_units", sa.Text),
        sa.Column("xyz", sa.Text),
        sa.Column("reason", sa.Text),
        *_integers("revision"),
        sa.Column("sent_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("engine", "source", "warehouse_id", "sku_id", name=op.f("pk_sent_classes")),
    )


def _create_velocity() -> None:
    op.create_table(
        "velocity_refreshes",
        *_refresh_key(),
        *_texts("time_zone"),
        sa.Column("compared_with", sa.Date),
        *_counts("skus", "units", "lines"),
        *_completeness(),
        *_texts("incomplete_days", "thresholds"),
        sa.Column("refreshed_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("source", "warehouse_id", "as_of", name=op.f("pk_velocity_refreshes")),
    )
    op.create_table(
        "sku_velocity",
        *_refresh_key(),
        *_texts("sku_id"),
        *_counts(*(f"{measure}_{days}" for measure in ("units", "lines") for days in (7, 28, 91))),
        *_integers("active_days"),
        _figure("units_per_active_day"),
        _figure("units_per_calendar_day"),
        sa.Column("last_movement", INSTANT, nullable=False),
        *_integers("days_since_last_movement"),
        sa.Column("trend", sa.Float),
        sa.Column("coefficient_of_variation", sa.Float),
        *_integers("rank_lines", "rank_units"),
        *_texts("abc_lines", "abc_units", "xyz"),
        sa.Column("previous_abc_lines", sa.Text),
        sa.Column("previous_abc_units", sa.Text),
        sa.Column("previous_xyz", sa.Text),
        sa.Column("class_changed", sa.Boolean, nullable=False),
        *_completeness(),
        sa.PrimaryKeyConstraint("source", "warehouse_id", "as_of", "sku_id", name=op.f("pk_sku_velocity")),
    )


def _refresh_key() -> list[sa.Column[Any]]:
    return [*_texts("source", "warehouse_id"), sa.Column("as_of", sa.Date, nullable=False)]


def _completeness() -> list[sa.Column[float]]:
    return [_figure(f"completeness_{days}") for days in (7, 28, 91)]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _integers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _figure(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False)


def _run_foreign_key(table: str) -> Any:
    return sa.ForeignKeyConstraint(["run_key"], ["sync_runs.run_key"], name=op.f(f"fk_{table}_run_key"))
