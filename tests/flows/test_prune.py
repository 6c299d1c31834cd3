"""The flow and the command prune: they report what they delete, and only delete data of old runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from flows.tasks.prune_artifacts import prune_artifacts
from prefect import flow, runtime, tags
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client

from flows.__main__ import main
from flows.prune import describe_free_space, prune, render_prune
from flows.runtime.ownership import FLOWS, our_runs
from sku_velocity.steps.prune import PruneReport
from sku_velocity.store import Store
from tests.support.aged_store import Made, make_runs, run_ids, seen
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


def run(**parameters: Any) -> Any:
    async def run() -> Any:
        state: Any = await prune(**parameters, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def test_a_prune_is_reported_in_an_artifact_and_the_final_state(
    prefect_server: PrefectServer, store_url: str
) -> None:
    state, report = run(store=filled(store_url, Made(age=31), Made(age=20), Made(age=10)))
    assert report.rows == {"sync_runs": 1, "movements": 2, "dead_letters": 1, "pushes": 1, "chunks": 1}
    assert state.message == ("Pruned 1 runs and 0 refreshes of velocity, 6 rows in all, and 0 artifacts.")
    [shown] = ask(prefect_server, "artifacts", str(state.state_details.flow_run_id))
    assert shown["key"] == "sku-velocity-pruned" and "| their movements | 2 |" in shown["data"]


def test_a_dry_run_counts_and_deletes_nothing(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store_url, Made(age=31), Made())
    before = asyncio.run(run_ids(store_url)), asyncio.run(seen(store_url))
    assert main(["prune", "--store", store_url, "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["dry_run"], report["rows"]["sync_runs"], report["rows"]["movements"]) == (True, 1, 2)
    assert (asyncio.run(run_ids(store_url)), asyncio.run(seen(store_url))) == before


def test_each_kind_has_its_own_retention(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(sqlite_url, Made(age=12), Made("refuse", age=12, hour=1), Made())
    words = ["--superseded-days", "11", "--unpublished-days", "13"]
    assert main(["prune", "--store", sqlite_url, *words]) == 0
    assert "Pruned 1 runs and 0 refreshes" in capsys.readouterr().out
    assert len(asyncio.run(run_ids(sqlite_url))) == 2


@pytest.mark.parametrize("words", [["--superseded-days", "0"], ["--artifact-days", "40000"]])
def test_too_few_or_too_many_days_are_bad_usage(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["prune", "--store", sqlite_url, *words]) == 2
    assert words[0][2:].replace("-", "_") in capsys.readouterr().err


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


def test_free_space_is_reported_only_if_there_is_any() -> None:
    report = PruneReport(dry_run=True, rows={"movements": 1200}, artifacts=3, free_bytes=3 * 2**20)
    assert "Would be pruned" in render_prune(report) and "| their movements | 1,200 |" in render_prune(report)
    assert str(describe_free_space(report)).startswith("3.0 MiB of the SQLite file are free")
    assert describe_free_space(report.model_copy(update={"free_bytes": None})) is None
