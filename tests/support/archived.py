"""A store whose windows are archived: published hours after a midnight, as if long ago."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from sku_velocity.model.activity import Activity
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.archive import archive_windows
from sku_velocity.steps.destination import Destination
from sku_velocity.steps.prune import delete_archived
from sku_velocity.store import Store
from sku_velocity.store.tables import published_ranges
from tests.support.aged_store import writing

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
Daily = dict[int, dict[str, tuple[int, ...]]]
_ids = count()


def hour(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


def hours(start: float, end: float) -> Window:
    return Window(hour(start), hour(end))


def new_id() -> str:
    return f"archived-{next(_ids)}"


async def publish(store: Store, window: Window, *at: float, units: int = 1, id: str | None = None) -> SyncRun:
    """Publish a window with a movement at each of these hours, of two SKUs in turn."""
    run = SyncRun(id or new_id(), "acme", "WH-01", window, len(at))
    await store.runs.begin(run, [Chunk(0, 0, len(at), len(at))] if at else [])
    if at:
        rows = [
            MovementRow(n, None, f"SKU-{n % 2}", "WH-01", units + n, hour(each)) for n, each in enumerate(at)
        ]
        await store.chunks.land_page(run.id, 0, PageResult(Page(0, len(rows)), len(rows), rows, []))
    await store.publications.publish(run.id, "{}")
    return run


async def age(url: str) -> None:
    """Date the publication of each range back to the end of the range."""
    async with writing(url) as connection:
        ranges = published_ranges.c
        await connection.execute(published_ranges.update().values(published_at=ranges.range_end))


async def archive(store: Store, url: str, out: Path, until: datetime) -> int:
    """Archive the windows that ended by an instant, as if published then. Return their number."""
    await age(url)
    archived = await archive_windows(store, Destination(str(out)), until + timedelta(microseconds=1))
    await delete_archived(store, rows_at_once=3)
    return archived


def daily(activity: Activity) -> Daily:
    """Return units, lines and orders by SKU, of each day with movements, by its index."""
    found: Daily = defaultdict(dict)
    columns = activity.daily
    names = ("codes", "days", "units", "lines", "orders")
    for code, day, *sums in zip(*(getattr(columns, name).tolist() for name in names), strict=True):
        found[day][columns.skus[code]] = tuple(sums)
    return found
