"""A window is read from a real server in each response shape that a spec can describe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from simulator.dialect import DIALECTS, NESTED_FIELDS
from simulator.faults import Fault
from simulator.scenario import Scenario
from simulator.server import Server, serve
from sku_velocity.errors import SourceAddressError, SourceAuthError, SourceMappingError
from sku_velocity.model.chunk import Page
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.paging import plan_chunks
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowProbe, WindowReader

pytestmark = pytest.mark.anyio

PLAIN = {"records": {"path": "records"}, "total": {"from": "body", "path": "total"}}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "envelope": {"records": {"path": "data"}, "total": {"from": "body", "path": "total"}},
    "nested": {
        "records": {"path": "data.movements"},
        "total": {"from": "body", "path": "meta.page.total"},
        "fields": NESTED_FIELDS,
    },
    "header": {"total": {"from": "header", "header": "X-Total-Count"}},
    "bare": {"total": {"from": "none"}},
}


@asynccontextmanager
async def reader_of(
    server: Server, span: Window | None = None, token: str = "secret", **parts: Any
) -> AsyncIterator[WindowReader]:
    spec = {
        "name": "acme",
        "base_url": server.url,
        "request": {"params": {"warehouse": "{warehouse}"}},
        "pace": {"requests_per_second": 1000},
        **(parts or PLAIN),
    }
    async with SourceClient.open(parse_spec(spec, "test"), SecretStr(token)) as client:
        yield WindowReader.of(client, "WH-01", span or Window.everything())


async def read_all(reader: WindowReader, page_size: int = 300) -> list[Any]:
    """Read the movements of a window page by page."""
    chunks = plan_chunks((await reader.probe()).total or 0, page_size, overlap=1)
    results = [await reader.read(page) for chunk in chunks for page in chunk.pages()]
    return [row for result in results for row in result.movements]


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_shape_is_read_whole(shape: str) -> None:
    with serve(Scenario(records=1234, dialect=DIALECTS[shape], bad_ratio=0.02)) as server:
        async with reader_of(server, **SHAPES[shape]) as reader:
            rows = await read_all(reader)
        truth = server.ground_truth("WH-01")
    assert len(rows) == truth.valid and sum(row.units_moved for row in rows) == truth.units


@pytest.mark.parametrize("records", [0, 1, 1000, 1001])
async def test_the_total_is_found_if_the_source_reports_none(records: int) -> None:
    with serve(Scenario(records=records, dialect=DIALECTS["bare"])) as server:
        async with reader_of(server, **SHAPES["bare"]) as reader:
            assert (await reader.probe()).total == records


async def test_only_the_window_is_requested() -> None:
    with serve(Scenario(records=2000)) as server:
        start = server.simulator.scenario.start
        window = Window(start, start + server.simulator.scenario.period / 2)
        truth = server.ground_truth("WH-01", window.start, window.end)
        async with reader_of(
            server, window, window={"params": {"start": "start", "end": "end"}}, **PLAIN
        ) as reader:
            assert (await reader.probe()).total == truth.records < 2000
            assert len(await read_all(reader)) == truth.valid


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_clamped_page_size_is_detected_before_planning(shape: str) -> None:
    with serve(Scenario(records=1000, max_page_size=100, dialect=DIALECTS[shape])) as server:
        async with reader_of(server, **SHAPES[shape]) as reader:
            assert await reader.probe() == WindowProbe(total=1000, page_size=100)


async def test_a_short_page_reports_its_number_of_records() -> None:
    with serve(Scenario(records=1000, max_page_size=100)) as server:
        async with reader_of(server) as reader:
            assert (await reader.read(Page(300, 300))).fetched == 100


async def test_a_wrong_address_is_reported() -> None:
    with serve() as server:
        async with reader_of(server, request={"path": "/moves"}) as reader:
            with pytest.raises(SourceAddressError, match=r"address: HTTP 404"):
                await reader.probe()


async def test_a_wrong_token_is_reported() -> None:
    with serve(Scenario(token="right")) as server:
        async with reader_of(server, token="wrong") as reader:
            with pytest.raises(SourceAuthError, match=r"token: HTTP 401"):
                await reader.probe()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"records": {"path": "items"}}, "records.path"),
        ({"total": {"from": "body", "path": "totals"}}, "no total at total.path totals"),
        ({"total": {"from": "header", "header": "X-Count"}}, "no total at header X-Count"),
        ({"fields": {"sku_id": "it", "units_moved": "qty"}}, "fields.sku_id: it, fields.units_moved: qty"),
    ],
)
async def test_a_wrong_mapping_is_reported(wrong: dict[str, Any], message: str) -> None:
    with serve() as server:
        async with reader_of(server, **{**PLAIN, **wrong}) as reader:
            with pytest.raises(SourceMappingError, match="mapping") as caught:
                await reader.probe()
    assert message in str(caught.value)


async def test_a_bad_record_is_not_a_wrong_mapping() -> None:
    with serve(Scenario(records=50, bad_ratio=0.5, seed=3)) as server:
        async with reader_of(server) as reader:
            assert (await reader.probe()).total == 50


async def test_a_result_contains_its_cost() -> None:
    with serve(Scenario(faults=(Fault("429", offset=0, times=1, seconds=1),))) as server:
        async with reader_of(server) as reader:
            result = await reader.read(Page(0, 10))
            assert (result.requests, result.throttled, result.retried) == (2, 1, 0)
            assert result.seconds >= 1 and reader.client.tally.requests == 2
