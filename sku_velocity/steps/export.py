"""The export of a published window as one Parquet file, to a directory or an object store."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from sku_velocity.errors import ConfigurationError, ExportError
from sku_velocity.model.window import PublishedSegment, Window, iso
from sku_velocity.output.names import file_stem
from sku_velocity.output.part_files import is_outdated, part_file
from sku_velocity.store import Store
from sku_velocity.store.publications import SegmentRow

ROW_GROUP = 20_000  # movements in memory
SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("warehouse_id", pa.string(), nullable=False),
        pa.field("sku_id", pa.string(), nullable=False),
        pa.field("units_moved", pa.int64(), nullable=False),
        pa.field("timestamp_utc", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("movement_id", pa.string()),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
    ]
)
SEGMENTS = b"sku_velocity.segments"  # in the file's metadata: published ranges, each with its run and replays
# A put here is atomic: the whole object or nothing. A move would copy it.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "obs", "cos", "r2"})
EXAMPLES = "write a directory, such as /srv/export, or a URL without credentials, such as s3://bucket/export"
CREDENTIALS = re.compile(r"://[^@]*:[^@]*@")


class Destination:
    """A directory, or a prefix in an object store, that exports are written to.

    Credentials come from the environment, in the way of each store's own tools. Raises ConfigurationError
    if the URL carries any, or if this installation cannot write to it.
    """

    def __init__(self, url: str) -> None:
        if CREDENTIALS.search(url) or ("://" in url and "?" in url):
            raise ConfigurationError(
                "export_to carries credentials or options, and Prefect stores parameters in plain text: "
                f"set them in the worker's environment; {EXAMPLES}"
            )
        self.url = url
        try:
            fs, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"export_to {url}: {error}; {EXAMPLES}") from error
        except Exception as error:  # some connect here, and each has its own errors
            raise ExportError(f"export_to {url}: {type(error).__name__}: {error}") from error
        self._fs: AbstractFileSystem = fs

    def holds(self, name: str, segments: Sequence[PublishedSegment]) -> bool:
        """Return True if the file exists, is complete, and holds these segments of its window."""
        with translate_errors(self.url):
            self._fs.invalidate_cache()  # another process may have written since
            if not self._fs.exists(self._path(name)):
                return False
            with self._fs.open(self._path(name), "rb") as file:
                try:
                    metadata = pq.read_schema(file).metadata or {}
                except pa.ArrowInvalid:  # left behind by a power cut
                    return False
        return bool(metadata.get(SEGMENTS) == _encode(segments))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a local file to write to, deleted on exit; in the destination itself if that is local."""
        directory = Path(tempfile.gettempdir())
        with ExitStack() as stack:
            with translate_errors(self.url):
                if isinstance(self._fs, LocalFileSystem):
                    self._fs.makedirs(self._root, exist_ok=True)
                    directory = Path(self._root)
                file = stack.enter_context(part_file(directory))
            yield file

    def put(self, file: Path, name: str) -> None:
        """Replace the file of this name by one from `scratch`, atomically."""
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        with translate_errors(self.url):
            if isinstance(self._fs, LocalFileSystem):
                file.replace(self._path(name))
            elif protocols & OBJECT_STORES:
                self._fs.put_file(str(file), self._path(name))
            else:
                self._fs.makedirs(self._root, exist_ok=True)
                self._delete_outdated()
                self._fs.put_file(str(file), self._path(file.name))
                self._fs.mv(self._path(file.name), self._path(name))

    def _delete_outdated(self) -> None:
        """Delete the hidden files that killed processes left long ago."""
        for path in self._fs.ls(self._root, detail=False):
            if is_outdated(PurePosixPath(path).name, datetime.now(UTC)):
                self._fs.rm_file(path)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


async def export_window(
    store: Store,
    destination: Destination,
    source: str,
    warehouse: str,
    window: Window,
    row_group: int = ROW_GROUP,
) -> str:
    """Write the published movements of a window, as `SCHEMA`, ordered by the view's ranges and positions.

    Returns the file's name, made of source, warehouse and window. A file that already holds the same runs is
    kept, so a second call costs one look. Memory grows with the row group. Raises ExportError if the
    destination is temporarily unavailable or the window changed meanwhile, and ConfigurationError if the
    setting is wrong.
    """
    name = file_name(source, warehouse, window)
    segments = await store.publications.segments(source, warehouse, window)
    if await asyncio.to_thread(destination.holds, name, segments):
        return name
    with destination.scratch() as file:
        await _write(file, store, source, warehouse, segments, destination.url, row_group)
        if await store.publications.segments(source, warehouse, window) != segments:
            raise ExportError(
                f"export of {warehouse} from {source}, {window}: it was published again meanwhile: retry"
            )
        await asyncio.to_thread(destination.put, file, name)
    return name


def file_name(source: str, warehouse: str, window: Window) -> str:
    """Return the name of a window's file: safe on every file system and unique to the window."""
    bounds = "everything" if window.is_everything else f"{_compact(window.start)}-{_compact(window.end)}"
    return f"{file_stem(source, warehouse)}.{bounds}.parquet"


def _compact(instant: datetime) -> str:
    return re.sub(r"[-:]", "", iso(instant.astimezone(UTC))).replace(".", "_")


async def _write(
    file: Path,
    store: Store,
    source: str,
    warehouse: str,
    segments: Sequence[PublishedSegment],
    where: str,
    row_group: int,
) -> None:
    with translate_errors(where):
        writer = pq.ParquetWriter(file, SCHEMA.with_metadata({SEGMENTS: _encode(segments)}))
    with writer:
        for segment in segments:
            async with aclosing(store.publications.stream(segment, row_group)) as batches:
                async for rows in batches:
                    batch = _batch(rows, source, warehouse, segment)
                    with translate_errors(where):
                        await asyncio.to_thread(writer.write_batch, batch)


def _batch(rows: Sequence[Any], source: str, warehouse: str, segment: PublishedSegment) -> pa.RecordBatch:
    columns = dict(zip(SegmentRow._fields, zip(*rows, strict=True), strict=True))
    same = {"source": source, "warehouse_id": warehouse, "run_id": segment.run_id}
    return pa.RecordBatch.from_arrays(
        [
            pa.repeat(pa.scalar(same[field.name]), len(rows))
            if field.name in same
            else pa.array(columns[field.name], field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


def _encode(segments: Sequence[PublishedSegment]) -> bytes:
    rows = [
        [segment.run_id, str(segment.window), *([segment.replayed] if segment.replayed else [])]
        for segment in segments
    ]
    return json.dumps(rows).encode()


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
    """Translate the stores' own errors into a wrong setting or a temporary failure, with the destination."""
    try:
        yield
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise ConfigurationError(
            f"export to {where}: {error}: check export_to and its permissions"
        ) from error
    except Exception as error:
        raise ExportError(f"export to {where}: {type(error).__name__}: {error}") from error
