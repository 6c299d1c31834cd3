"""Rejects that a mended spec lets pass: validated again, and put where they belong."""

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
from flows.runtime.retries import TASK_RETRY, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState
from sku_velocity.model.movement import EARLIEST, LATEST
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.replay import ReplayReport, RunReplay, replay_run


@task(task_run_name="find dead letters", **TASK_RETRY)
async def find_runs(connections: RunResources, wanted: DeadLetterFilter) -> list[SyncRun]:
    """The published and the incomplete runs that hold any of these letters."""
    async with connections.store() as store:
        return await store.letters.runs(wanted)


@task(task_run_name="replay {run.label} {run.window}", **TASK_RETRY)
async def replay_letters(
    connections: RunResources, run: SyncRun, wanted: DeadLetterFilter, by: str
) -> RunReplay:
    """Judge one run's letters anew; a run whose master is not here any more is left, and says so."""
    async with connections.store() as store:
        try:
            return await replay_run(store, connections.source.spec, run, wanted, by)
        except ConfigurationError as error:
            return RunReplay(run=run.id, warehouse=run.warehouse, window=str(run.window), error=str(error))


@task(task_run_name="show what is left", **TASK_RETRY)
async def show_open(connections: RunResources) -> None:
    """Show the open letters of the source."""
    async with connections.store() as store:
        await publish_open_rejects(store, connections.source.spec.name)


@flow(
    name="replay-dead-letters",
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
    """Judge a source's open dead letters anew by its spec as it is now, and publish those that are valid.

    Each takes its place in the window that it was read in. Nothing is read from the source, and letters of
    stage push, rows that a slotting engine refused, are left alone.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml): the one that was mended.
        warehouse: Only this warehouse's letters. Empty: all.
        start: Only of windows that end after this, with its zone. Empty: from the first on.
        end: Only of windows that start before this. Empty: up to the last.
        reason: Only letters whose reasons hold this text, such as units_moved. Empty: all.
        run: Only letters of the sync run with this id. Empty: all.
        store: A velocity-store block's name, or a URL without password. Empty: $SKU_VELOCITY_STORE.
        by: Who asks for it, kept with each letter. Empty: this flow run.
    """
    connections = RunResources(await find_source(source), await find_store(store))
    spec = connections.source.spec
    if spec.items is not None:
        raise ConfigurationError(
            f"{spec.name} holds items, not movements: a master's version never changes; sync-master makes "
            "a new one by the mended spec"
        )
    wanted = DeadLetterFilter(
        source=spec.name,
        warehouse=warehouse,
        run=run,
        reason=reason,
        state=DeadLetterState.OPEN,
        stage=VALIDATION,
        window=window_of(start, end),
    )
    by = by or f"flow run {runtime.flow_run.name} ({runtime.flow_run.id})"
    runs = await result_of(find_runs.submit(connections, wanted))
    # One after the other: each is small, and they write to the same tables.
    replays = [
        await result_of(replay_letters.submit(connections, each, replace(wanted, run=each.id), by))
        for each in runs
    ]
    await result_of(show_open.submit(connections))
    return final_state(ReplayReport(source=spec.name, runs=replays))


def window_of(start: AwareDatetime | None, end: AwareDatetime | None) -> Window | None:
    """The stretch of time that is meant. Raises ConfigurationError where it ends before it starts."""
    if start is None and end is None:
        return None
    try:
        return Window(start or EARLIEST, end or LATEST)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def final_state(report: ReplayReport) -> State[ReplayReport]:
    """The last state: what took its place, and what did not, and why."""
    told = ", ".join(
        f"{report.total(count)} {word}"
        for count, word in (
            ("loaded", f"loaded ({report.total('published')} of them show)"),
            ("trimmed", "trimmed"),
            ("filtered", "filtered"),
            ("rejected", "rejected again"),
            ("repeated", "left, for their window holds their record id already"),
            ("waiting", "left, for a push of their chunk is under way: finish it, then replay again"),
        )
        if report.total(count) or count == "loaded"
    )
    message = f"Of {report.total('validated')} open dead letters {told}."
    if unsent := report.total("unsent"):
        runs = " ".join(each.run for each in report.runs if each.unsent)
        message += (
            f" {unsent} are in chunks that were pushed before: `sync --resume RUN --push ENGINE` sends them, "
            f"for each run of {runs}."
        )
    if errors := [each.error for each in report.runs if each.error]:
        return Failed(name="NotAllReplayed", message=f"{message} {' | '.join(errors)}", data=report)
    return Completed(name="Replayed", message=message, data=report)
