"""The export of what is published as Parquet files, in directories `source=/warehouse=/date=` (UTC).

A file holds what is published in a range of time within its date, and its name is the range. The files of a
date overlap only while one replaces several.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sku_velocity.errors import ExportError
from sku_velocity.model.window import PublishedSegment, Window, iso
from sku_velocity.output.names import partition
from sku_velocity.output.schemas import INSTANT, MOVEMENTS
from sku_velocity.steps.destination import Destination, translate_errors
from sku_velocity.store import Store

ROW_GROUP = 20_000  # movements in memory
SEGMENTS = b"sku_velocity.segments"  # in a file's metadata: each range with its run and publication
OF_SEGMENT = (
    "run_id",
    "publication",
    "published_at",
)  # the same in all rows of a segment
STORED = tuple(name for name in MOVEMENTS.names if name not in OF_SEGMENT)
_INSTANT = r"\d{8}T\d{6}(?:_\d{6})?Z"
_NAME = re.compile(rf"({_INSTANT})-({_INSTANT})\.parquet")


class Exported(NamedTuple):
    """The directory that a window was exported to, and the number of dates whose files changed."""

    directory: str
    changed: int


class DayBatch(NamedTuple):
    """Some movements of one UTC date."""

    day: date
    rows: pa.RecordBatch


async def export_window(
    store: Store,
    destination: Destination,
    source: str,
    warehouse: str,
    window: Window,
    row_group: int = ROW_GROUP,
) -> Exported:
    """Make the files of a window hold what is published in it: one per date, ordered by time.

    A date without movements has no file. A file that extends beyond the window is written again with it, as
    one; a file that is up to date is kept. Each file is replaced atomically; one that replaces several is
    there before they are deleted. Exports of a warehouse wait for each other. Memory grows with the row
    group. Archived movements are read from the archive. Raises ExportError if the destination is temporarily
    unavailable or the archive is missing, ConfigurationError if the setting is wrong, and the errors of the
    store.
    """
    async with store.publications.exporting(source, warehouse):
        return await export_exclusively(store, destination, source, warehouse, window, row_group)


async def export_exclusively(
    store: Store,
    destination: Destination,
    source: str,
    warehouse: str,
    window: Window,
    row_group: int = ROW_GROUP,
) -> Exported:
    """Do what `export_window` does, for a caller that holds the lock of the warehouse's exports."""
    directory = directory_of(source, warehouse)
    found = await asyncio.to_thread(find_files, destination, directory, window)
    window = widen(window, found)
    found = [file for file in found if file.overlaps(window)]
    segments = await store.publications.segments(source, warehouse, window)
    archives = await asyncio.to_thread(_find_archives, destination, directory, found, segments)
    if not found:
        for archive in archives.values():
            await asyncio.to_thread(archive.check)
    days = {file.start.date() for file in found}
    for each in segments:
        if each.archived_to:
            days |= {file.start.date() for file in archives[each.archived_to].of(each)}
    if len(days) < number_of_days(window):
        days |= await store.publications.days(source, warehouse, window)
    files = [DayFile.of(day, window, found, segments) for day in sorted(days)]
    export = _Export(store, destination, directory, archives, row_group)
    current = await asyncio.to_thread(lambda: [export.is_current(file) for file in files])
    for is_current, stretch in groupby(zip(current, files, strict=True), itemgetter(0)):
        if not is_current:
            await export.replace([file for _, file in stretch], segments)
    return Exported(directory, current.count(False))


def directory_of(source: str, warehouse: str) -> str:
    """Return the directory of a warehouse's files."""
    return f"{partition('source', source)}/{partition('warehouse', warehouse)}"


def find_days(destination: Destination, directory: str) -> list[date]:
    """Return the dates that a warehouse's directory has, in order."""
    found = map(_day_of, destination.names(directory))
    return sorted(day for day in found if day)


def day_window(day: date) -> Window:
    """Return a UTC date as a window."""
    start = datetime.combine(day, time(), UTC)
    return Window(start, start + timedelta(days=1))


def number_of_days(window: Window) -> int:
    """Return the number of UTC dates that a window touches."""
    return (window.end - datetime.resolution).toordinal() - window.start.toordinal() + 1


def widen(window: Window, files: Sequence[Window]) -> Window:
    """Return the window with all files that it overlaps, those that these overlap, and so on."""
    touched = [window, *(file for file in files if file.overlaps(window))]
    wider = Window(min(each.start for each in touched), max(each.end for each in touched))
    return window if wider == window else widen(wider, files)


def clip(segments: Iterable[PublishedSegment], window: Window) -> Iterator[PublishedSegment]:
    """Yield the parts of segments that are in a window."""
    for each in segments:
        if each.window.overlaps(window):
            yield replace(each, window=_common(each.window, window))


def file_name(content: Window) -> str:
    """Return the name of the file of a range, without its directory."""
    return f"{_compact(content.start)}-{_compact(content.end)}.parquet"


def content_of(name: str) -> Window | None:
    """Return the range of a file, or None if it is none of ours. The inverse of `file_name`."""
    if found := _NAME.fullmatch(name):
        with suppress(ValueError):
            start, end = (datetime.fromisoformat(each.replace("_", ".")) for each in found.groups())
            return Window(start, end)
    return None


def _compact(instant: datetime) -> str:
    return re.sub(r"[-:]", "", iso(instant)).replace(".", "_")


def _day_of(name: str) -> date | None:
    key, _, day = name.partition("=")
    with suppress(ValueError):
        return date.fromisoformat(day) if key == "date" else None
    return None


def _common(one: Window, other: Window) -> Window:
    return Window(max(one.start, other.start), min(one.end, other.end))


def find_files(destination: Destination, directory: str, window: Window) -> list[Window]:
    """Return the ranges of the files of all dates that a window touches."""
    days = [day for day in find_days(destination, directory) if day_window(day).overlaps(window)]
    names = [name for day in days for name in destination.names(f"{directory}/date={day}")]
    return [content for name in names if (content := content_of(name))]


def path_of(directory: str, content: Window) -> str:
    """Return the path of the file of a range within a destination."""
    return f"{directory}/date={content.start.date()}/{file_name(content)}"


@dataclass(frozen=True)
class _Archive:
    """The files of a warehouse in an archive, by time."""

    destination: Destination
    directory: str
    files: Sequence[Window]

    def of(self, segment: PublishedSegment) -> list[Window]:
        """Return the files that hold a segment. Those that a larger one is about to replace are left out."""
        found = [each for each in self.files if each.overlaps(segment.window)]
        return [each for each in found if not any(_is_part(each, other) for other in found)]

    def check(self) -> None:
        """Check that the archive has files of the warehouse. Raises ExportError if it is missing."""
        if not self.files and not find_days(self.destination, self.directory):
            raise ExportError(
                f"archive {self.destination.url}: it has no {self.directory}, which the export of archived "
                "movements reads: restore it to this place, then export again"
            )


def _find_archives(
    destination: Destination, directory: str, found: Sequence[Window], segments: Sequence[PublishedSegment]
) -> dict[str, _Archive]:
    """Return the archives of segments, by URL. `found` are the files of the destination, which may be one."""
    spans: dict[str, list[Window]] = {}
    for each in segments:
        if each.archived_to:
            spans.setdefault(each.archived_to, []).append(each.window)
    archives = {}
    for url, windows in spans.items():
        archive, span = Destination(url), Window(windows[0].start, windows[-1].end)
        files = found if url == destination.place else find_files(archive, directory, span)
        archives[url] = _Archive(archive, directory, sorted(files, key=lambda each: each.start))
    return archives


def _is_part(one: Window, other: Window) -> bool:
    return one != other and other.start <= one.start and one.end <= other.end


@dataclass(frozen=True)
class DayFile:
    """The file of a date that is to hold a range, the files that it replaces, and what is published in it."""

    day: date
    content: Window
    replaced: tuple[Window, ...]
    segments: tuple[PublishedSegment, ...]

    @classmethod
    def of(
        cls, day: date, window: Window, files: Iterable[Window], segments: Iterable[PublishedSegment]
    ) -> DayFile:
        content = _common(window, day_window(day))
        replaced = tuple(file for file in files if file.overlaps(content))
        return cls(day, content, replaced, tuple(clip(segments, content)))

    @property
    def metadata(self) -> bytes:
        """What the file is made of: it is up to date as long as this is the same."""
        parts = [[each.run_id, str(each.window), each.publication] for each in self.segments]
        return json.dumps(parts).encode()


@dataclass(frozen=True)
class _Export:
    """The export of a warehouse to its directory."""

    store: Store
    destination: Destination
    directory: str
    archives: Mapping[str, _Archive]
    row_group: int

    def is_current(self, file: DayFile) -> bool:
        """Return True if a file holds what it is to hold, and no other file holds any of it."""
        if file.replaced != (file.content,):
            return False
        schema = self.destination.schema(self._path(file.content))
        return (
            schema is not None
            and schema.equals(MOVEMENTS)
            and (schema.metadata or {}).get(SEGMENTS) == file.metadata
        )

    async def replace(self, files: Sequence[DayFile], segments: Iterable[PublishedSegment]) -> None:
        """Write the files of successive dates in one pass, each in place of those that it replaces."""
        span = Window(files[0].content.start, files[-1].content.end)
        async with aclosing(self._read(clip(segments, span))) as batches:
            rows = _LookAhead(batches)
            for file in files:
                with self.destination.scratch() as scratch:
                    kept = set()
                    if await self._write(scratch, file, rows):
                        await asyncio.to_thread(self.destination.put, scratch, self._path(file.content))
                        kept = {file.content}
                outdated = [self._path(each) for each in file.replaced if each not in kept]
                await asyncio.to_thread(self.destination.delete, outdated)

    async def _write(self, scratch: Path, file: DayFile, rows: _LookAhead) -> bool:
        """Write the next rows of a date. Return False if there are none."""
        has_rows = False
        with translate_errors(self.destination.url):
            schema = MOVEMENTS.with_metadata({SEGMENTS: file.metadata})
            writer = pq.ParquetWriter(scratch, schema, write_page_checksum=True)
        with writer:
            async with aclosing(rows.of(file.day)) as batches:
                async for batch in batches:
                    with translate_errors(self.destination.url):
                        await asyncio.to_thread(writer.write_batch, batch)
                    has_rows = True
        return has_rows

    async def _read(self, segments: Iterable[PublishedSegment]) -> AsyncGenerator[DayBatch, None]:
        """Yield the movements of segments, which are in order of time, split by date."""
        for segment in segments:
            if segment.archived_to:
                async with aclosing(
                    self._read_archived(segment, self.archives[segment.archived_to])
                ) as archived:
                    async for batch in archived:
                        yield batch
                continue
            async with aclosing(self.store.publications.stream(segment, STORED, self.row_group)) as batches:
                async for rows in batches:
                    for day, part in groupby(rows, lambda row: row.timestamp_utc.date()):
                        yield DayBatch(day, _record_batch(list(part), segment))

    async def _read_archived(
        self, segment: PublishedSegment, archive: _Archive
    ) -> AsyncGenerator[DayBatch, None]:
        """Yield the movements of an archived segment from the archive's files."""
        await asyncio.to_thread(archive.check)
        for file in archive.of(segment):
            batches = archive.destination.batches(path_of(self.directory, file), self.row_group)
            while batch := await asyncio.to_thread(next, batches, None):
                if len(rows := _only(batch, segment)):
                    yield DayBatch(file.start.date(), rows)

    def _path(self, content: Window) -> str:
        return path_of(self.directory, content)


class _LookAhead:
    """Batches in order of their dates, taken date by date."""

    def __init__(self, batches: AsyncIterator[DayBatch]) -> None:
        self._batches = batches
        self._next: DayBatch | None = None

    async def of(self, day: date) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the batches of a date. Those of earlier ones are skipped."""
        following = self._next or await anext(self._batches, None)
        while following and following.day <= day:
            if following.day == day:
                yield following.rows
            following = await anext(self._batches, None)
        self._next = following


def _only(batch: pa.RecordBatch, segment: PublishedSegment) -> pa.RecordBatch:
    """Return the rows of a file that belong to a segment."""
    at, (start, end) = batch["timestamp_utc"], (pa.scalar(each, INSTANT) for each in segment.window.bounds)
    in_window = pc.and_(pc.greater_equal(at, start), pc.less(at, end))
    rows = batch.filter(pc.and_(pc.equal(batch["run_id"], segment.run_id), in_window))
    return pa.RecordBatch.from_arrays([rows[name] for name in MOVEMENTS.names], schema=MOVEMENTS)


def _record_batch(rows: Sequence[Any], segment: PublishedSegment) -> pa.RecordBatch:
    columns = dict(zip(STORED, zip(*rows, strict=True), strict=True))
    return pa.RecordBatch.from_arrays(
        [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.repeat(pa.scalar(getattr(segment, field.name), field.type), len(rows))
            for field in MOVEMENTS
        ],
        schema=MOVEMENTS,
    )
