"""Real-life movements read over HTTP: the published rows equal what pandas counts in the file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import text

from simulator.scenario import Scenario
from simulator.server import serve
from sku_velocity.cli.executor import Executor
from sku_velocity.store.database import Database
from tests.support.acme import dead_letters, spec_file
from tests.support.operations import sync
from tests.support.sample import SAMPLES, valid_rows

ROWS = text("SELECT position, sku_id, units_moved, run_id FROM published_movements ORDER BY 1")


def rows_of(url: str, run: str) -> list[tuple[Any, ...]]:
    """Return the rows that a reader of the store sees. All must be of one run."""

    async def look() -> list[tuple[Any, ...]]:
        database = Database(url)
        try:
            async with database.reading() as connection:
                rows = [tuple(row) for row in await connection.execute(ROWS)]
        finally:
            await database.close()
        assert {row[3] for row in rows} == {run}
        return [row[:3] for row in rows]

    return asyncio.run(look())


@pytest.mark.parametrize(("path", "page_size"), SAMPLES, ids=[path.stem for path, _ in SAMPLES])
def test_each_valid_row_is_published_and_every_other_row_is_a_dead_letter(
    executor: Executor, tmp_path: Path, store_url: str, path: Path, page_size: int
) -> None:
    frame = valid_rows(path)
    warehouse = frame.warehouse_id.iloc[0]
    expected = list(zip(frame.index, frame.sku_id, frame.units_moved, strict=True))
    records = len(pd.read_csv(path))
    with serve(Scenario(csv=path)) as server:
        spec = {"paging": {"page_size": page_size}, "auth": {"kind": "none"}}
        source = spec_file(server, tmp_path, **spec)
        runs = [
            sync(executor, source, store_url, warehouse=warehouse, token_env=None, max_reject_ratio=1)[1]
            for _ in range(2)
        ]
    for report in runs:
        assert (report.fetched, report.loaded) == (records, len(frame))
        assert dead_letters(store_url, report.run_id) == report.rejected == records - len(frame)
    assert rows_of(store_url, runs[-1].run_id) == expected


def test_the_samples_have_the_expected_number_of_invalid_rows() -> None:
    counted = [(len(pd.read_csv(path)), len(valid_rows(path)), int(valid_rows(path).units_moved.sum()))
               for path, _ in SAMPLES]  # fmt: skip
    assert counted[0][:2] == (200, 188) and counted[1:] in ([], [(10_000, 9_833, 90_322)])
