"""The archive of published movements: write them to files, read those back, then delete them in the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa

from sku_velocity.errors import ExportError
from sku_velocity.steps.destination import Destination
from sku_velocity.steps.export import (
    ROW_GROUP,
    directory_of,
    export_exclusively,
    find_files,
    path_of,
)
from sku_velocity.store import Store
from sku_velocity.store.archive import ArchiveBatch, Content


async def archive_windows(store: Store, destination: Destination, cutoff: datetime) -> int:
    """Archive the windows that ended, and were published, before a cutoff. Return their number.

    Their movements are in files at the destination, and not visible in the store any more. After a kill at
    any time the next call archives what is left, and nothing is lost. Raises ExportError if files cannot be
    written, or do not hold the movements of the store.
    """
    archived = 0
    for place in await store.archive.places(cutoff):
        for batch in await store.archive.batches(place, cutoff):
            await store.activity.bring_up_to_date(batch.source, batch.warehouse, batch.end)
            archived += await _archive(store, destination, batch)
    return archived


async def _archive(store: Store, destination: Destination, batch: ArchiveBatch) -> int:
    """Archive a batch. Return the number of runs.

    Other exports wait until it is marked: one that had begun before would write files without its movements.
    """
    source, warehouse = batch.source, batch.warehouse
    async with store.publications.exporting(source, warehouse):
        for stretch in batch.stretches:
            await export_exclusively(store, destination, source, warehouse, stretch)
        written = await asyncio.to_thread(_read_back, destination, batch)
        contents = await store.archive.contents(batch)
        for run, content in contents.items():
            if (found := written.get(run, Content())) != content:
                raise ExportError(
                    f"archive {destination.url}: its files have {found.rows} rows of run {run} of "
                    f"{warehouse} from {source}, the store has {content.rows}: nothing was deleted; check "
                    "what else writes there, move wrong files away, and prune again"
                )
        return await store.archive.mark(batch, destination.place, contents)


def _read_back(destination: Destination, batch: ArchiveBatch) -> dict[str, Content]:
    """Read the files of a batch whole. Return the content of each run that they have rows of."""
    directory = directory_of(batch.source, batch.warehouse)
    paths = {path_of(directory, file) for stretch in batch.stretches
             for file in find_files(destination, directory, stretch) if file.overlaps(stretch)}  # fmt: skip
    rows, positions = Counter[str](), Counter[str]()
    for path in sorted(paths):
        for run, number, total in _count(destination.batches(path, ROW_GROUP)):
            rows[run] += number
            positions[run] += total
    return {run: Content(rows[run], positions[run]) for run in rows}


def _count(batches: Iterable[pa.RecordBatch]) -> Iterable[tuple[str, int, int]]:
    """Yield the number of rows, and the sum of their positions, by run."""
    for batch in batches:
        grouped = pa.table(batch).group_by("run_id").aggregate([("position", "count"), ("position", "sum")])
        yield from zip(*(grouped[name].to_pylist() for name in
                         ("run_id", "position_count", "position_sum")), strict=True)  # fmt: skip
