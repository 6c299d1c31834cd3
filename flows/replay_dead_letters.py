"""The replay flow: revalidate dead letters by a fixed spec, and publish the valid ones in their windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from prefect import flow, runtime, task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import AwareDatetime, Field

from blocks.store import find_store
from blocks.wms import find_source
from flows.artifacts.rejects import publish_open_rejects
from flows.runtime.connections import RunResources
from flows.runtime.ownership import REPLAY
from flows.runtime.retries import TASK_RETRY, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.replay import ReplayReport, RunReplay, replay_run


@task(task_run_name="find dead letters", **TASK_RETRY)
async def find_runs(connections: RunResources, criteria: DeadLetterFilter) -> list[SyncRun]:
    """Return the published and the incomplete runs that hold any matching letters."""
    async with connections.store() as store:
        return await store.replays.runs(criteria)


@task(task_run_name="replay {run.label} {run.window}", **TASK_RETRY)
async def replay_letters(
    connections: RunResources, run: SyncRun, criteria: DeadLetterFilter, by: str
) -> RunReplay:
    """Revalidate one run's letters. If its master is gone, leave the run and report the error."""
    async with connections.store() as store:
        try:
            return await replay_run(store, connections.source.spec, run, criteria, by)
        except ConfigurationError as error:
            return RunReplay(run=run.id, warehouse=run.warehouse, window=str(run.window), error=str(error))


@task(task_run_name="show open dead letters", **TASK_RETRY)
async def show_open(connections: RunResources) -> None:
    """Show the source's open dead letters as an artifact."""
    async with connections.store() as store:
        await publish_open_rejects(store, connections.source.spec.name)


@flow(
    name=REPLAY,
    flow_run_name="dead letters of {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
async def replay_dead_letters(
    source: str,
    warehouse: Annotated[str, Field(min_length=1)] | None = None,
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
    reason: str | None = None,
    run: str | None = None,
    store: str | None = None,
    by: str | None = None,
) -> Any:
    """Revalidate a source's open dead letters by its current spec, and publish those that are valid.

    Each is published in the window that it was read in. Nothing is read from the source. Letters of stage
    push, which are rows that a slotting engine refused, are left unchanged.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml), with the fixed spec.
        warehouse: Only this warehouse's letters. Omit for all.
        start: Only letters of windows that end after this, with its time zone. Omit for no limit.
        end: Only letters of windows that start before this. Omit for no limit.
        reason: Only letters whose reasons contain this text, such as units_moved. Omit for all.
        run: Only letters of the sync run with this id. Omit for all.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        by: The person who replays, stored with each letter. Omit for this flow run.
    """
    connections = RunResources(await find_source(source), await find_store(store))
    spec = connections.source.spec
    if spec.items is not None:
        raise ConfigurationError(
            f"{spec.name} holds items, not movements: a master version never changes; run sync-master to "
            "make a new one with the fixed spec"
        )
    criteria = DeadLetterFilter(
        source=spec.name,
        warehouse=warehouse,
        run=run,
        reason=reason,
        state=DeadLetterState.OPEN,
        stage=VALIDATION,
        window=window_of(start, end),
    )
    by = by or f"flow run {runtime.flow_run.name} ({runtime.flow_run.id})"
    runs = await result_of(find_runs.submit(connections, criteria))
    # One after the other: each is small, and they write to the same tables.
    replays = [
        await result_of(replay_letters.submit(connections, each, replace(criteria, run=each.id), by))
        for each in runs
    ]
    await result_of(show_open.submit(connections))
    return final_state(ReplayReport(source=spec.name, runs=replays))


def window_of(start: AwareDatetime | None, end: AwareDatetime | None) -> Window | None:
    """Return the given time span, or None. Raises ConfigurationError if it ends before it starts."""
    if start is None and end is None:
        return None
    try:
        return Window.between(start, end)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def final_state(report: ReplayReport) -> State[ReplayReport]:
    """Return the run's final state: what was loaded, and what was not and why."""
    counts = ", ".join(
        f"{report.total(count)} {word}"
        for count, word in (
            ("loaded", f"loaded ({report.total('published')} of them published)"),
            ("trimmed", "trimmed"),
            ("filtered", "filtered"),
            ("rejected", "rejected again"),
            ("repeated", "left open: their window already has their record id"),
            ("waiting", "left open: their chunk is being pushed; finish the push, then replay again"),
        )
        if report.total(count) or count == "loaded"
    )
    message = f"Of {report.total('validated')} open dead letters: {counts}."
    if unsent := report.total("unsent"):
        runs = " ".join(each.run for each in report.runs if each.unsent)
        message += (
            f" {unsent} are in chunks that were already pushed: send them with "
            f"`sync --resume RUN --push ENGINE`, for each run of {runs}."
        )
    if errors := [each.error for each in report.runs if each.error]:
        return Failed(name="NotAllReplayed", message=f"{message} {' | '.join(errors)}", data=report)
    return Completed(name="Replayed", message=message, data=report)
