"""Velocity: refreshes, a row per SKU and refresh, and the view `current_velocity`."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

# A warehouse whose newest refresh found nothing has no rows, instead of those of the refresh before.
VIEW = """
CREATE VIEW current_velocity AS
SELECT v.*
FROM sku_velocity v
JOIN (
    SELECT source, warehouse_id, max(as_of) AS as_of FROM velocity_refreshes GROUP BY source, warehouse_id
) r ON r.source = v.source AND r.warehouse_id = v.warehouse_id AND r.as_of = v.as_of
"""


def upgrade() -> None:
    op.create_table(
        "velocity_refreshes",
        *_refresh_key(),
        _text("time_zone"),
        sa.Column("compared_with", sa.Date),
        _count("skus"),
        _count("units"),
        _count("lines"),
        *_completeness(),
        _text("incomplete_days"),
        _text("thresholds"),
        sa.Column("refreshed_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("source", "warehouse_id", "as_of", name=op.f("pk_velocity_refreshes")),
    )
    op.create_table(
        "sku_velocity",
        *_refresh_key(),
        _text("sku_id"),
        *(_count(f"{measure}_{days}") for measure in ("units", "lines") for days in (7, 28, 91)),
        _count("active_days", sa.Integer),
        _figure("units_per_active_day"),
        _figure("units_per_calendar_day"),
        sa.Column("last_movement", INSTANT, nullable=False),
        _count("days_since_last_movement", sa.Integer),
        sa.Column("trend", sa.Float),
        sa.Column("coefficient_of_variation", sa.Float),
        _count("rank_lines", sa.Integer),
        _count("rank_units", sa.Integer),
        _text("abc_lines"),
        _text("abc_units"),
        _text("xyz"),
        sa.Column("previous_abc_lines", sa.Text),
        sa.Column("previous_abc_units", sa.Text),
        sa.Column("previous_xyz", sa.Text),
        sa.Column("class_changed", sa.Boolean, nullable=False),
        *_completeness(),
        sa.PrimaryKeyConstraint("source", "warehouse_id", "as_of", "sku_id", name=op.f("pk_sku_velocity")),
    )
    op.execute(VIEW)


def _refresh_key() -> list[sa.Column[Any]]:
    return [_text("source"), _text("warehouse_id"), sa.Column("as_of", sa.Date, nullable=False)]


def _completeness() -> list[sa.Column[float]]:
    return [_figure(f"completeness_{days}") for days in (7, 28, 91)]


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False)


def _figure(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False)
