"""Where velocity stands as files: figures as Parquet and CSV, the report as HTML, each there whole or not."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from sku_velocity.errors import ConfigurationError
from sku_velocity.velocity.figures import Figures

Write = Callable[[Path], object]


def slug(text: str, allowed: str) -> str:
    """A text as a name of the allowed characters (a class of a regex); what differs stays different."""
    plain = re.sub(f"[^{allowed}]+", "-", text).strip("-.")
    if plain == text:
        return plain
    digest = blake2b(text.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
    return "-".join(filter(None, (plain[:80], digest)))


def write_files(directory: Path, stem: str, figures: Figures, page: str) -> dict[str, str]:
    """Write `stem`.parquet, .csv and .html, each in place of an earlier one; gives their paths by suffix.

    The columns are those of table `sku_velocity`. Raises ConfigurationError where the directory cannot be
    written to.
    """
    writers: dict[str, Write] = {
        "parquet": lambda path: figures.to_parquet(path, engine="pyarrow", index=False),
        "csv": lambda path: figures.to_csv(path, index=False),
        "html": lambda path: path.write_text(page, encoding="utf-8"),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        paths = {suffix: directory / f"{stem}.{suffix}" for suffix in writers}
        for suffix, write in writers.items():
            write_whole(paths[suffix], write)
    except OSError as error:
        raise ConfigurationError(
            f"reports: cannot write to {directory}: {error.strerror or error}: give a directory of your own"
        ) from error
    return {suffix: str(path) for suffix, path in paths.items()}


def write_whole(path: Path, write: Write) -> None:
    """Have a file written beside its place and moved there once it is whole."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        write(part)
        part.chmod(0o644)  # mkstemp's is for its owner alone
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
