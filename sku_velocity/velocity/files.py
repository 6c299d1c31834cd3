"""The files of velocity: figures as Parquet and CSV, the report as HTML, each written atomically."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sku_velocity.errors import ConfigurationError
from sku_velocity.output.csv_text import csv_line
from sku_velocity.output.part_files import part_file
from sku_velocity.output.schemas import VELOCITY
from sku_velocity.velocity.figures import Figures, to_rows

Write = Callable[[Path], object]


def write_files(directory: Path, stem: str, figures: Figures, page: str) -> dict[str, str]:
    """Write or replace `stem`.parquet, .csv and .html. Return their paths by suffix.

    The columns are those of table `sku_velocity`; Parquet holds them exactly, by the schema `VELOCITY`, CSV
    is escaped for spreadsheets. Raises ConfigurationError if the directory is not writable.
    """
    writers: dict[str, Write] = {
        "parquet": lambda path: _write_parquet(path, figures),
        "csv": lambda path: _write_csv(path, figures),
        "html": lambda path: path.write_text(page, encoding="utf-8"),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        paths = {suffix: directory / f"{stem}.{suffix}" for suffix in writers}
        for suffix, write in writers.items():
            write_whole(paths[suffix], write)
    except OSError as error:
        raise ConfigurationError(
            f"reports: cannot write to {directory}: {error.strerror or error}: set a writable directory"
        ) from error
    return {suffix: str(path) for suffix, path in paths.items()}


def write_whole(path: Path, write: Write) -> None:
    """Write a file atomically: beside its final path first, then move it there."""
    with part_file(path.parent) as part:
        write(part)
        part.chmod(0o644)  # whatever the process's umask: others read the reports
        part.replace(path)


def _write_parquet(path: Path, figures: Figures) -> None:
    table = pa.Table.from_pandas(figures, VELOCITY, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(), path)  # without pandas' own types, which vary


def _write_csv(path: Path, figures: Figures) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(figures.columns))
        file.writelines(map(csv_line, to_rows(figures)))
