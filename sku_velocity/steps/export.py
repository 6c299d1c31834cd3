"""A published window as one Parquet file, in a directory or an object store."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from sku_velocity.errors import ConfigurationError, ExportError
from sku_velocity.model.window import PublishedSegment, Window, iso
from sku_velocity.store import Store
from sku_velocity.store.publishing import COLUMNS

ROW_GROUP = 20_000  # movements that are in memory at once
SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("warehouse_id", pa.string(), nullable=False),
        pa.field("sku_id", pa.string(), nullable=False),
        pa.field("units_moved", pa.int64(), nullable=False),
        pa.field("timestamp_utc", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("movement_id", pa.string()),
        pa.field("flow_run_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
    ]
)
SEGMENTS = b"sku_velocity.segments"  # of the file's metadata: which run shows where, and its replays
# Where a name stands for a whole object: it is put in one segment or not at all, and moving would copy it.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "obs", "cos", "r2"})
EXAMPLES = "write a directory, such as /srv/export, or a URL without credentials, such as s3://bucket/export"
CREDENTIALS = re.compile(r"://[^@]*:[^@]*@")
PLAIN = re.compile(r"[A-Z0-9-]{1,60}")


class Destination:
    """A directory, or a place in an object store, that exports are written to.

    Credentials come from the environment, as each store's own tools take them. Raises ConfigurationError
    where the URL carries any, or names no place that can be written to here.
    """

    def __init__(self, url: str) -> None:
        if CREDENTIALS.search(url) or ("://" in url and "?" in url):
            raise ConfigurationError(
                "export_to carries credentials or options, and Prefect keeps parameters in clear: give them "
                f"in the environment of the worker; {EXAMPLES}"
            )
        self.url = url
        try:
            fs, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"export_to {url}: {error}; {EXAMPLES}") from error
        except Exception as error:  # some connect at once, and each fails in its own way
            raise ExportError(f"export_to {url}: {type(error).__name__}: {error}") from error
        self._fs: AbstractFileSystem = fs

    def holds(self, name: str, segments: Sequence[PublishedSegment]) -> bool:
        """Whether the file of this name is there, whole, and holds these segments of its window."""
        with explaining(self.url):
            self._fs.invalidate_cache()  # others may have written since this process last looked
            if not self._fs.exists(self._path(name)):
                return False
            with self._fs.open(self._path(name), "rb") as file:
                try:
                    metadata = pq.read_schema(file).metadata or {}
                except pa.ArrowInvalid:  # what a power cut left behind
                    return False
        return bool(metadata.get(SEGMENTS) == _told(segments))

    @contextmanager
    def scratch(self, hidden: str) -> Iterator[Path]:
        """A local file to write, gone when the block is left; in the directory itself where that is local."""
        if isinstance(self._fs, LocalFileSystem):
            with explaining(self.url):
                self._fs.makedirs(self._root, exist_ok=True)
            file = Path(self._root) / hidden
            try:
                yield file
            finally:
                file.unlink(missing_ok=True)
        else:
            with tempfile.TemporaryDirectory() as directory:
                yield Path(directory) / hidden

    def put(self, file: Path, name: str) -> None:
        """Have a file of `scratch` take the place of whatever stands under a name, in one step."""
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        with explaining(self.url):
            if isinstance(self._fs, LocalFileSystem):
                file.replace(self._path(name))
            elif protocols & OBJECT_STORES:
                self._fs.put_file(str(file), self._path(name))
            else:
                self._fs.makedirs(self._root, exist_ok=True)
                self._fs.put_file(str(file), self._path(file.name))
                self._fs.mv(self._path(file.name), self._path(name))

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
    """Write what shows of a window, as `SCHEMA`, in the order of the view's ranges and positions.

    Gives the file's name, which tells source, warehouse and window. A file that is there and holds the same
    runs is left as it is, so that a second call costs one look. Memory goes with a row group. Raises
    ExportError where the place cannot be written to for now, or the window changed meanwhile, and
    ConfigurationError where it never can be.
    """
    name = file_name(source, warehouse, window)
    segments = await store.published_segments(source, warehouse, window)
    if await asyncio.to_thread(destination.holds, name, segments):
        return name
    with destination.scratch(f".{name}.{uuid4().hex[:8]}.tmp") as file:  # two may write at once
        await _write(file, store, source, warehouse, segments, destination.url, row_group)
        if await store.published_segments(source, warehouse, window) != segments:
            raise ExportError(
                f"export of {warehouse} from {source}, {window}: it was published anew meanwhile"
            )
        await asyncio.to_thread(destination.put, file, name)
    return name


def file_name(source: str, warehouse: str, window: Window) -> str:
    """The name of a window's file: safe on every file system, and of this window alone.

    A warehouse that is not plain (capitals, digits, dashes) is told by what is plain of it and a digest.
    """
    bounds = "everything" if window.is_everything else f"{_compact(window.start)}-{_compact(window.end)}"
    return f"{source}.{_plain(warehouse)}.{bounds}.parquet"


def _plain(warehouse: str) -> str:
    if PLAIN.fullmatch(warehouse):
        return warehouse
    digest = blake2b(warehouse.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', warehouse)[:60]}_{digest}"


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
    with explaining(where):
        writer = pq.ParquetWriter(file, SCHEMA.with_metadata({SEGMENTS: _told(segments)}))
    with writer:
        for segment in segments:
            async with aclosing(store.stream(segment, row_group)) as batches:
                async for rows in batches:
                    batch = _batch(rows, source, warehouse, segment)
                    with explaining(where):
                        await asyncio.to_thread(writer.write_batch, batch)


def _batch(rows: Sequence[Any], source: str, warehouse: str, segment: PublishedSegment) -> pa.RecordBatch:
    told = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    same = {"source": source, "warehouse_id": warehouse, "flow_run_id": segment.flow_run_id}
    return pa.RecordBatch.from_arrays(
        [
            pa.repeat(pa.scalar(same[field.name]), len(rows))
            if field.name in same
            else pa.array(told[field.name], field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


def _told(segments: Sequence[PublishedSegment]) -> bytes:
    told = [
        [segment.flow_run_id, str(segment.window), *([segment.replayed] if segment.replayed else [])]
        for segment in segments
    ]
    return json.dumps(told).encode()


@contextmanager
def explaining(where: str) -> Iterator[None]:
    """Says where an export failed, and whether it is a setting or may pass: each store has its own errors."""
    try:
        yield
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise ConfigurationError(f"export to {where}: {error}: check export_to and its rights") from error
    except Exception as error:
        raise ExportError(f"export to {where}: {type(error).__name__}: {error}") from error
