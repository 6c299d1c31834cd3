"""Where exports are written: a directory, or a prefix in an object store. Files appear and change whole."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from sku_velocity.errors import ConfigurationError, ExportError
from sku_velocity.output.part_files import is_outdated, part_file

# A put here is atomic: the whole object or nothing. A move would copy it.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "obs", "cos", "r2"})
DELETES = 8  # at once
EXAMPLES = "write a directory, such as /srv/export, or a URL without credentials, such as s3://bucket/export"
CREDENTIALS = re.compile(r"://[^@]*:[^@]*@")


class Destination:
    """A directory, or a prefix in an object store, that exports are written to. Paths in it have slashes.

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
        if isinstance(fs, LocalFileSystem) and Path(self._root).is_file():
            raise ConfigurationError(f"export_to {url} is a file: write a directory")

    @property
    def place(self) -> str:
        """The URL, or the absolute path of a directory: the same from every working directory."""
        return self._root if isinstance(self._fs, LocalFileSystem) else self.url

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory; none if it does not exist."""
        with translate_errors(self.url):
            self._fs.invalidate_cache()  # another process may have written since
            try:
                found = self._fs.ls(self._path(directory), detail=False)
            except FileNotFoundError:
                return []
        return [PurePosixPath(path).name for path in found]

    def schema(self, name: str) -> pa.Schema | None:
        """Return the schema of a Parquet file with its metadata; None if the file is broken."""
        with translate_errors(self.url), self._fs.open(self._path(name), "rb") as file:
            try:
                return pq.read_schema(file)
            except pa.ArrowInvalid:  # left behind by a power cut
                return None

    def batches(self, name: str, size: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a Parquet file, at most `size` at a time. Fails if a page's checksum is wrong."""
        with translate_errors(self.url), self._fs.open(self._path(name), "rb") as file:
            yield from pq.ParquetFile(file, page_checksum_verification=True).iter_batches(size)

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
            if protocols & OBJECT_STORES:
                self._fs.put_file(str(file), self._path(name))
                return
            self._fs.makedirs(str(PurePosixPath(self._path(name)).parent), exist_ok=True)
            if isinstance(self._fs, LocalFileSystem):
                file.replace(self._path(name))
            else:
                self._delete_outdated()
                self._fs.put_file(str(file), self._path(file.name))
                self._fs.mv(self._path(file.name), self._path(name))

    def delete(self, names: Sequence[str]) -> None:
        """Delete these files, several at a time."""
        with translate_errors(self.url), ThreadPoolExecutor(DELETES) as pool:
            list(pool.map(self._fs.rm_file, map(self._path, names)))

    def _delete_outdated(self) -> None:
        """Delete the hidden files that killed processes left long ago."""
        for path in self._fs.ls(self._root, detail=False):
            if is_outdated(PurePosixPath(path).name, datetime.now(UTC)):
                self._fs.rm_file(path)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


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
