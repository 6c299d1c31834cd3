"""A recheck in Prefect: a Retry does only what is left, and revisions have an artifact and events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry

from flows.command_line import PrefectExecutor
from flows.recheck import recheck
from flows.runtime.prefect_internals import run_flow
from tests.support.late_source import LateSource, published, serve_late
from tests.support.operations import sync
from tests.support.prefect_api import ask, events
from tests.support.prefect_server import PrefectServer
from tests.support.store_rows import hour

pytestmark = pytest.mark.usefixtures("prefect_server", "token")
HOURS = 2


def prepare(served: LateSource, directory: Path, store: str) -> str:
    """Publish two hours, and return the source's spec."""
    served.fill(0, HOURS, 60)
    source = served.write_spec(directory)
    for number in range(HOURS):
        sync(PrefectExecutor(), source, store, start=hour(number), end=hour(number + 1))
    return source


def run(source: str, store: str) -> Any:
    """Recheck as a flow run. Return the state and its result."""

    async def go() -> Any:
        state = await recheck(source=source, store=store, task_retries=0, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(go())


async def press_retry(flow_run: UUID) -> Any:
    """Press Retry and run the flow run as a worker does. Return its result."""
    async with get_client() as client:
        await client.set_flow_run_state(flow_run, AwaitingRetry(), force=True)
        state = await run_flow(recheck, flow_run=await client.read_flow_run(flow_run), return_type="state")
    return await state.aresult(raise_on_failure=False)


def test_a_retry_compares_only_what_is_left_and_resumes_what_has_landed(
    tmp_path: Path, store_url: str
) -> None:
    with serve_late() as served:
        source = prepare(served, tmp_path, store_url)
        _, unchanged = run(source, store_url)
        served.add(hour(1.5))
        served.broken_from = served.requests + unchanged.requests + 4  # the plan, and a few of its pages
        state, first = run(source, store_url)
        assert state.name == "Incomplete" and [each.published for each in first.windows] == [False]
        served.broken_from, before = None, served.requests
        report = asyncio.run(press_retry(state.state_details.flow_run_id))
        assert [each.run_id for each in report.windows] == [first.windows[0].run_id]
        assert (report.compared, report.windows[0].added) == (1, 1)
        urls = [url for url, _ in served.server.requests[before:]]
        assert not any("since=2026-03-01T00" in url for url in urls)  # unchanged: it was compared before
        starts = {url.partition("offset=")[2].partition("&")[0] for url in urls}
        assert "3" not in starts  # the second page has landed
        assert published(store_url) == served.content


def test_a_revision_is_shown_in_an_artifact_and_an_event(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with serve_late() as served:
        source = prepare(served, tmp_path, sqlite_url)
        served.add(hour(1.5))
        served.delete("m-3")
        state, report = run(source, sqlite_url)
    flow_run = str(state.state_details.flow_run_id)
    artifacts = ask(prefect_server, "artifacts", flow_run, lambda all: _named(all, "acme--recheck"))
    [shown] = _named(artifacts, "acme--recheck")
    assert "| Windows compared | 2 |" in shown and "| Rows added | 1 |" in shown
    assert "would have caught 99% of them" in shown
    assert report.total("removed") == 1 and len(report.revised) == 2
    for window in report.windows:
        (event,) = events(prefect_server, "sku-velocity.window.published", window.run_id)
        assert (event["payload"]["publication"], event["payload"]["cause"]) == (
            window.publication,
            "revision",
        )
        (event,) = events(prefect_server, "sku-velocity.window.revised", window.run_id)
        payload = event["payload"]
        assert (payload["publication"], payload["cause"]) == (window.publication, "revision")
        counts = payload["added"], payload["changed"], payload["removed"]
        assert counts == (window.added, window.changed, window.removed)


def _named(artifacts: list[dict[str, Any]], key: str) -> list[str]:
    return [each["data"] for each in artifacts if each["key"] == key]
