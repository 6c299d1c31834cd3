"""What readers of exported files see, and what they are to see."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from sku_velocity.store.tables import as_instant
from tests.support.published_store import table

Rows = Counter[tuple[Any, ...]]

PARTITIONS = pa.schema([("source", pa.string()), ("warehouse", pa.string()), ("date", pa.date32())])
COLUMNS = ("date", "source", "warehouse_id", "sku_id", "units_moved", "run_id", "position", "publication")
TYPES = "{'source': VARCHAR, 'warehouse': VARCHAR, 'date': DATE}"


def files(root: Path) -> list[str]:
    """Return the paths of the files below a directory, hidden ones included."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def seen_by_duckdb(root: Path) -> Rows:
    """Return the rows that DuckDB reads, after checking that each is in the directory of its date."""
    if not files(root):
        return Counter()
    parquet = f"read_parquet('{root}/*/*/*/*.parquet', hive_partitioning=true, hive_types={TYPES})"
    misplaced = (
        f"FROM {parquet} WHERE date != timezone('UTC', timestamp_utc)::DATE OR warehouse != warehouse_id"
    )
    assert duckdb.sql(f"SELECT count(*) {misplaced}").fetchall() == [(0,)]
    return Counter(duckdb.sql(f"SELECT {', '.join(COLUMNS)} FROM {parquet}").fetchall())


def seen_by_pyarrow(root: Path) -> Rows:
    """Return the rows that pyarrow reads."""
    found = ds.dataset(root, partitioning=ds.partitioning(PARTITIONS, flavor="hive")).to_table(list(COLUMNS))
    return Counter(zip(*(found[name].to_pylist() for name in COLUMNS), strict=True))


async def published(url: str) -> Rows:
    """Return the rows that readers of the store see."""
    rows = await table(url, f"SELECT timestamp_utc, {', '.join(COLUMNS[1:])} FROM published_movements")
    return Counter((as_instant(at).astimezone(UTC).date(), *row) for at, *row in rows)


def of_day(rows: Rows, day: date) -> Rows:
    """Return the rows of a date."""
    return Counter({row: times for row, times in rows.items() if row[0] == day})
