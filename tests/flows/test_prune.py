"""A prune in Prefect: it is shown in an artifact, and deletes only artifacts of our old runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, runtime, tags
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client

from flows.artifacts.runs import render_pruned
from flows.prune import prune
from flows.runtime.old_artifacts import prune_artifacts
from flows.runtime.ownership import FLOWS, our_runs
from sku_velocity.model.reports import PruneReport
from sku_velocity.store import Store
from tests.support.aged_store import Made, make_runs
from tests.support.deployments import DEPLOYMENTS, flow_of
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.usefixtures("prefect_server")


def filled(url: str, *plan: Made) -> str:
    async def fill() -> None:
        async with Store.open(url) as store:
            await make_runs(store, url, list(plan), datetime.now(UTC))

    asyncio.run(fill())
    return url


def test_a_prune_is_reported_in_an_artifact_and_the_final_state(
    prefect_server: PrefectServer, sqlite_url: str
) -> None:
    filled(sqlite_url, Made(age=31), Made(age=20), Made(age=10))
    state: Any = asyncio.run(prune(store=sqlite_url, return_state=True))
    assert state.message == ("Pruned 1 runs and 0 refreshes of velocity, 6 rows in all, and 0 artifacts.")
    [shown] = ask(prefect_server, "artifacts", str(state.state_details.flow_run_id))
    assert shown["key"] == "sku-velocity-pruned" and "| their movements | 2 |" in shown["data"]


def artifacts_of(
    name: str, key: str, look: Callable[[], Any] | None = None, owned: Callable[[], Any] = our_runs
) -> Any:
    """Run a flow that creates three unkeyed artifacts and a keyed one. Return what `look` returns in it."""

    @flow(name=name)
    async def create() -> Any:
        for number in range(3):
            await acreate_markdown_artifact(str(number))
        await acreate_markdown_artifact("latest", key=key)
        return await look() if look else None

    with owned():
        return asyncio.run(create())


async def prune_pages(name: str, ended_before: datetime, *, dry_run: bool = False) -> int:
    async with get_client() as client:
        return await prune_artifacts(client, ended_before, dry_run=dry_run, flows=[name], page=2)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def test_artifacts_of_ended_runs_are_deleted_except_the_latest_of_each_key(
    prefect_server: PrefectServer,
) -> None:
    name, key = f"test-{uuid4()}", f"test-{uuid4()}"
    for _ in range(2):
        artifacts_of(name, key)
    assert asyncio.run(prune_pages(name, soon(), dry_run=True)) == 7
    assert asyncio.run(prune_pages(name, soon())) == 7
    assert asyncio.run(prune_pages(name, soon())) == 0
    assert asyncio.run(prune_pages("sync-velocity-of-another", soon())) == 0


def test_artifacts_of_newer_and_unfinished_runs_are_kept() -> None:
    name, began = f"test-{uuid4()}", datetime.now(UTC) - timedelta(minutes=1)
    assert artifacts_of(name, name, lambda: prune_pages(name, soon())) == 0
    assert (
        asyncio.run(prune_pages(name, began)) == 0
        and asyncio.run(prune_pages(name, soon(), dry_run=True)) == 3
    )


@pytest.mark.parametrize("name", ["backfill", "sku-velocity-prune"])
@pytest.mark.parametrize(
    "owned", [nullcontext, lambda: tags("another")], ids=["untagged", "tagged by others"]
)
def test_artifacts_of_foreign_runs_survive_even_if_the_flow_has_our_name(
    prefect_server: PrefectServer, name: str, owned: Callable[[], Any]
) -> None:
    async def prune_all() -> int:
        async with get_client() as client:
            return await prune_artifacts(client, soon())

    async def run_id() -> str:
        return str(runtime.flow_run.id)

    run = artifacts_of(name, f"test-{uuid4()}", run_id, owned)
    asyncio.run(prune_all())
    assert len(ask(prefect_server, "artifacts", run)) == 4


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_the_artifacts_of_each_deployed_flow_are_pruned(deployment: dict[str, Any]) -> None:
    assert flow_of(deployment).name in FLOWS


def test_free_space_is_shown_only_if_there_is_any() -> None:
    report = PruneReport(dry_run=True, rows={"movements": 1200}, artifacts=3, free_bytes=3 * 2**20)
    shown = render_pruned(report)
    assert "Would be pruned" in shown and "| their movements | 1,200 |" in shown and "3.0 MiB" in shown
    assert "MiB" not in render_pruned(report.model_copy(update={"free_bytes": None}))
