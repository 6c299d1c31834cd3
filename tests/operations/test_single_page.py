"""A window that is a single page is planned, read, proven and published in one step."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sku_velocity.errors import StoreUnavailableError
from sku_velocity.model.run import RunReport
from sku_velocity.steps import window
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import SyncRequest
from sku_velocity.steps.run_context import RunContext
from sku_velocity.steps.sync import sync
from tests.support.acme import published, spec_file, wms
from tests.support.days import WINDOWED, day

LARGE = {"page_size": 1000}


def request_of(source: str, store: str, retries: int) -> SyncRequest:
    return SyncRequest(
        source=source,
        store=store,
        token_env="WMS_TOKEN",
        warehouse="WH-01",
        start=day(1),
        end=day(2),
        max_reject_ratio=1,
        task_retries=retries,
    )


@pytest.mark.parametrize(("retries", "name"), [(1, "Complete"), (0, "Incomplete")])
def test_the_step_is_retried_after_a_temporary_failure(
    tmp_path: Path,
    store_url: str,
    token: None,
    monkeypatch: pytest.MonkeyPatch,
    retries: int,
    name: str,
) -> None:
    attempts: list[int] = []

    async def read_chunk(*arguments: Any) -> Any:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise StoreUnavailableError("the store is away")
        return await original(*arguments)

    original = window.read_chunk
    monkeypatch.setattr(window, "read_chunk", read_chunk)
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED, paging=LARGE)

        async def run() -> Outcome[RunReport]:
            context = RunContext(sleep=no_sleep)
            async with context.opened():
                return await sync(context, request_of(source, store_url, retries))

        outcome = asyncio.run(run())
        truth = server.ground_truth("WH-01", day(1), day(2))
    assert outcome.name == name and len(attempts) == 1 + retries
    assert published(store_url) == ((truth.valid, truth.units, 1) if retries else (0, 0, 0))
    assert retries or "the store is away" in outcome.message


async def no_sleep(seconds: float) -> None:
    pass


def test_with_prefect_it_is_one_task_run(
    prefect_server: object, tmp_path: Path, postgresql_url: str, token: None
) -> None:
    from flows.sync_velocity import sync_velocity
    from tests.support.task_runs import names_of_task_runs

    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED, paging=LARGE)
        request = request_of(source, postgresql_url, 0).parameters()

        async def run() -> list[str]:
            state = await sync_velocity(**request, return_state=True)
            assert state.name == "Complete" and state.state_details.flow_run_id
            return await names_of_task_runs(state.state_details.flow_run_id)

        names = asyncio.run(run())
        truth = server.ground_truth("WH-01", day(1), day(2))
    assert set(names) <= {"read WH-01", "show rejects WH-01"} and "read WH-01" in names
    assert published(postgresql_url) == (truth.valid, truth.units, 1)
