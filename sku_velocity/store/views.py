"""The views, by the names that SQL clients use: what is published, and the newest velocity."""

import re

from sku_velocity.store.tables import YEAR_ONE, UtcDateTime, velocity_figures

# A marked instant of a view. On SQLite it counts from year 1, because a division rounds towards zero.
FIGURES = velocity_figures.columns
_INSTANT = re.compile(r"@(\w+\.(\w+))")
_AS_TEXT = (
    rf"strftime('%Y-%m-%dT%H:%M:%S', (\1 + {YEAR_ONE}000000) / 1000000 - {YEAR_ONE}, 'unixepoch') || "
    rf"printf('.%06d+00:00', (\1 + {YEAR_ONE}000000) % 1000000) AS \2"
)

# The range's warehouse, not the row's: they are equal, and a filter on it selects the ranges first.
MOVEMENTS_VIEW = """
CREATE VIEW published_movements AS
SELECT p.source, p.warehouse_id, m.sku_id, m.units_moved, @m.timestamp_utc, m.movement_id,
       m.movement_type, m.order_id, m.location_id, m.unit_of_measure, m.direction, m.extra,
       r.run_id, m.position, p.publication, @p.published_at
FROM published_ranges p
JOIN sync_runs r ON r.run_key = p.run_key
JOIN movements m ON m.run_key = p.run_key
                AND m.timestamp_utc >= p.range_start AND m.timestamp_utc < p.range_end
WHERE r.archived_at IS NULL
"""

# Every window of movements that was ever published, also if its run has been superseded or deleted since.
WINDOWS_VIEW = """
CREATE VIEW published_windows AS
SELECT b.publication, b.source, b.warehouse_id, @b.range_start, @b.range_end, b.run_id, @b.published_at,
       b.cause, b.added, b.changed, b.removed, b.unchanged,
       CASE WHEN b.publication NOT IN (SELECT publication FROM published_ranges) THEN 'superseded'
            WHEN r.archived_at IS NOT NULL THEN 'archived' ELSE 'published' END AS state,
       r.archived_to
FROM publications b
LEFT JOIN sync_runs r ON r.run_id = b.run_id
WHERE b.warehouse_id <> ''
"""

ITEMS_VIEW = """
CREATE VIEW published_items AS
SELECT p.source, i.sku_id, i.status, i.description, i.unit_volume, i.weight, i.units_per_case,
       i.units_per_pallet, r.run_id, i.position
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
VELOCITY_VIEW = f"""
CREATE VIEW current_velocity AS
SELECT {", ".join("@" * isinstance(each.type, UtcDateTime) + f"v.{each.name}" for each in FIGURES)}
FROM sku_velocity v
JOIN (
    SELECT source, warehouse_id, max(as_of) AS as_of FROM velocity_refreshes GROUP BY source, warehouse_id
) r ON r.source = v.source AND r.warehouse_id = v.warehouse_id AND r.as_of = v.as_of
"""

VIEWS = (MOVEMENTS_VIEW, WINDOWS_VIEW, ITEMS_VIEW, ALIASES_VIEW, VELOCITY_VIEW)


def views(dialect: str) -> tuple[str, ...]:
    """Return the statements that create the views; on SQLite they show instants as ISO 8601 text in UTC."""
    return tuple(_INSTANT.sub(_AS_TEXT if dialect == "sqlite" else r"\1", view) for view in VIEWS)
