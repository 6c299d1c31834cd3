"""The content of a rollup: a day's activity by SKU, and each SKU's first movement, as Arrow data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# A row per SKU: sums of a local day; `first` and `last` are microseconds of UTC since 1970.
WIDE, SMALL = pa.int64(), pa.int32()
SUMS = [("sku_id", pa.string()), ("units", WIDE), ("lines", SMALL), ("orders", SMALL)]
DAY = pa.schema([*SUMS, ("first", WIDE), ("last", WIDE)])
FIRST = pa.schema([("sku_id", pa.string()), ("first", pa.int64())])
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")


def pack(table: pa.Table) -> bytes:
    """Serialise a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table back, or some of its columns."""
    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all()
    return table.select(list(columns)) if columns else table


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column without nulls as an array."""
    return np.asarray(column.to_numpy())


def instants(values: Sequence[object]) -> pa.Array:
    """Convert a driver's instants to microseconds, which they are on SQLite."""
    kind = pa.int64() if isinstance(values[0], int) else pa.timestamp("us", "UTC")
    return pa.array(values, kind).cast(pa.int64())


def earliest(tables: Iterable[pa.Table]) -> pa.Table:
    """Return each SKU's smallest `first` in tables that have `sku_id` and `first`, by SKU."""
    whole = pa.concat_tables([FIRST.empty_table(), *(table.select(FIRST.names) for table in tables)])
    grouped = whole.group_by("sku_id").aggregate([("first", "min")])
    table = pa.table([grouped["sku_id"], grouped["first_min"]], schema=FIRST)
    return table.sort_by("sku_id")


def without(table: pa.Table, skus: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return a table without the rows of these SKUs."""
    return table.filter(pc.invert(pc.is_in(table["sku_id"], value_set=_one(skus))))


def only(table: pa.Table, skus: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the rows of these SKUs."""
    return table.filter(pc.is_in(table["sku_id"], value_set=_one(skus)))


def before_instant(firsts: pa.Table, instant: int) -> pa.Table:
    """Return the rows whose `first` is before an instant, in microseconds since 1970."""
    return firsts.filter(pc.less(firsts["first"], instant))


def _one(skus: pa.Array | pa.ChunkedArray) -> pa.Array:
    return skus.combine_chunks() if isinstance(skus, pa.ChunkedArray) else skus


def losing(firsts: pa.Table, before: pa.Table, after: pa.Table) -> pa.Array:
    """Return the SKUs whose first movement was in replaced days, `before`, and is not there `after`."""

    def is_in(table: pa.Table) -> pa.Array:
        places = pc.index_in(before["sku_id"], value_set=_one(table["sku_id"]))
        return pc.fill_null(pc.equal(table["first"].take(places), before["first"]), False)

    return before["sku_id"].filter(pc.and_(is_in(firsts), pc.invert(is_in(after))))


def by_day(indexes: Sequence[int], table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of each day, given each row's day, in ascending order."""
    found, starts = np.unique(np.asarray(indexes, dtype=np.int64), return_index=True)
    for index, start, end in zip(found, starts, [*starts[1:], len(indexes)], strict=True):
        yield int(index), table.slice(start, end - start)


def codes_in(skus: pa.ChunkedArray, known: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Return the place of each SKU among the known ones. Raises ArrowInvalid if one is not."""
    codes: npt.NDArray[np.int32] = _one(pc.index_in(skus, value_set=_one(known))).to_numpy()
    return codes
