"""docs/export.md is correct: its columns are those of the files, and its queries read them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from sku_velocity.output.schemas import MOVEMENTS, VELOCITY
from sku_velocity.store import Store
from tests.steps.test_export import DAY, DIRECTORY, export, name_of, publish
from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "export.md").read_text()
TABLES = re.findall(r"\| column \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE)


def documented(table: str) -> list[tuple[str, ...]]:
    """Return name, type, nullability and unit of each column in a table of the page."""
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    return [(name, *cells) for names, *cells in rows for name in re.findall(r"`(\w+)`", names)]


@pytest.mark.parametrize(("table", "schema"), [*zip(TABLES, (MOVEMENTS, VELOCITY), strict=True)])
def test_the_columns_are_those_of_the_files(table: str, schema: pa.Schema) -> None:
    assert documented(table) == [
        (
            field.name,
            str(field.type),
            "yes" if field.nullable else "no",
            (field.metadata or {}).get(b"unit", b"").decode(),
        )
        for field in schema
    ]


def test_the_queries_read_the_files(tmp_path: Path, sqlite_url: str) -> None:
    out = tmp_path / "movements"

    async def fill() -> None:
        async with Store.open(sqlite_url) as store:
            await publish(store, 1, 2, units=4)
            await export(store, out, DAY)

    asyncio.run(fill())
    blocks = {
        kind: re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[0].replace("/srv/movements", str(out))
        for kind in ("sql", "python", "text")
    }
    assert blocks["text"].strip().startswith(str(out / DIRECTORY)) and (out / name_of(0, 24)).exists()
    [(warehouse, day, units)] = duckdb.sql(blocks["sql"]).fetchall()
    assert (warehouse, str(day), units) == ("WH-01", "2026-03-01", 8)
    names: dict[str, object] = {}
    exec(blocks["python"], names)
    assert len(names["frame"]) == len(names["everything"]) == 2  # type: ignore[arg-type]
