"""The archive of published movements: write them to files, read those back, then delete them in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa
import pyarrow.compute

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
from sku_velocity.store.archive import LOWER, ArchiveBatch, Content

SUMMED = ("position", "upper", "lower")  # of `Content`


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
                    f"archive {destination.url}: its files have {_shown(found)} of run {run} of {warehouse} "
                    f"from {source}, the store has {_shown(content)}: nothing was deleted; check what else "
                    "writes there, move wrong files away, and prune again"
                )
        return await store.archive.mark(batch, destination.place, contents)


def _shown(content: Content) -> str:
    return f"{content.rows} rows (units {content.units})"


def _read_back(destination: Destination, batch: ArchiveBatch) -> dict[str, Content]:
    """Read the files of a batch whole. Return the content of each run that they have rows of."""
    directory = directory_of(batch.source, batch.warehouse)
    paths = {path_of(directory, file) for stretch in batch.stretches
             for file in find_files(destination, directory, stretch) if file.overlaps(stretch)}  # fmt: skip
    found: dict[str, Content] = {}
    for path in sorted(paths):
        for run, content in _count(destination.batches(path, ROW_GROUP)):
            found[run] = Content(*map(sum, zip(found.get(run, Content()), content, strict=True)))
    return found


def _count(batches: Iterable[pa.RecordBatch]) -> Iterable[tuple[str, Content]]:
    """Yield the content of each batch by run."""
    sums = [("position", "count"), *((name, "sum") for name in SUMMED)]
    for batch in batches:
        units = batch["units_moved"]
        halves = [pa.compute.shift_right(units, 32), pa.compute.bit_wise_and(units, LOWER)]
        table = pa.table([batch["run_id"], batch["position"], *halves], ["run_id", *SUMMED])
        grouped = table.group_by("run_id").aggregate(sums)
        columns = (grouped[f"{name}_{kind}"].to_pylist() for name, kind in sums)
        for run, *values in zip(grouped["run_id"].to_pylist(), *columns, strict=True):
            yield run, Content(*values)
