"""The replay of dead letters: validate them again by the current spec, in transactions of `BATCH`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState, ReplayOutcome
from sku_velocity.model.movement import EARLIEST, LATEST
from sku_velocity.model.reports import ReplayReport, RunReplay
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.digest import mapping_digest
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import ReplayRequest
from sku_velocity.steps.revalidation import revalidate
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.store import Store

BATCH = 500  # letters per transaction
NAMED_REASONS = 20


async def replay(context: RunContext, request: ReplayRequest) -> Outcome[ReplayReport]:
    """Revalidate a source's open dead letters, run by run, and publish those that are valid."""
    await context.find(source=request.source, store=request.store)
    spec = context.source.spec
    if spec.items is not None:
        raise ConfigurationError(
            f"{spec.name} holds items, not movements: a master version never changes; run sync-master to "
            "make a new one with the fixed spec"
        )
    criteria = DeadLetterFilter(
        source=spec.name,
        warehouse=request.warehouse,
        run=request.run,
        reason=request.reason,
        state=DeadLetterState.OPEN,
        stage=VALIDATION,
        window=window_of(request.start, request.end),
    )
    by = request.by or context.user
    runs = await context.perform(find_runs, criteria)
    # One after the other: each is small, and they write to the same tables.
    replays = [await context.perform(replay_letters, run, replace(criteria, run=run.id), by) for run in runs]
    await context.perform(show_open)
    return _outcome_of(ReplayReport(source=spec.name, runs=replays))


@step("find dead letters")
async def find_runs(context: RunContext, criteria: DeadLetterFilter) -> list[SyncRun]:
    """Return the published and the incomplete runs that hold any matching letters.

    Raises ConfigurationError if the run asked for does not exist.
    """
    async with context.store() as store:
        if criteria.run is not None and await store.runs.find(criteria.run) is None:
            raise ConfigurationError(f"run: no run {criteria.run} in this store: check the id and the store")
        return await store.replays.runs(criteria)


@step("replay {run.label} {run.window}")
async def replay_letters(context: RunContext, run: SyncRun, criteria: DeadLetterFilter, by: str) -> RunReplay:
    """Revalidate one run's letters. If its master is gone, leave the run and report the error."""
    async with context.store() as store:
        try:
            return await replay_run(store, context.source.spec, run, criteria, by)
        except ConfigurationError as error:
            return RunReplay(run=run.id, warehouse=run.warehouse, window=str(run.window), error=str(error))


@step("show open dead letters")
async def show_open(context: RunContext) -> None:
    """Show the source's dead letters that are still open."""
    async with context.store() as store:
        await context.display.show_open_rejects(store, context.source.spec.name)


def window_of(start: datetime | None, end: datetime | None) -> Window | None:
    """Return the given time span, or None. Raises ConfigurationError if it ends before it starts."""
    if start is None and end is None:
        return None
    try:
        return Window(start or EARLIEST, end or LATEST)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _outcome_of(report: ReplayReport) -> Outcome[ReplayReport]:
    """Return what was loaded, and what was not and why."""
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
        return Outcome("NotAllReplayed", f"{message} {' | '.join(errors)}", report, is_failed=True)
    return Outcome("Replayed", message, report)


async def replay_run(
    store: Store, spec: SourceSpec, run: SyncRun, criteria: DeadLetterFilter, by: str
) -> RunReplay:
    """Validate the letters of one run again, and insert the valid ones at their positions.

    SKUs are mapped by the same version of the master as the rest of the run. A second call continues with
    the open letters. Raises the errors of the store, and ConfigurationError if that version was pruned.
    """
    master = await store.masters.load(run.master) if run.master else None
    of_run, position = replace(criteria, run=run.id), -1
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    while letters := await store.replays.after(of_run, position, BATCH):
        validated = revalidate(spec, run, master, letters)
        counts += await store.replays.apply(run.id, validated, by, mapping_digest(spec))
        rejected = [each for each in validated if each.outcome is ReplayOutcome.REJECTED]
        counts += Counter(validated=len(validated), rejected=len(rejected))
        reasons.update("; ".join(map(str, each.reasons)) for each in rejected)
        position = letters[-1].position
    return _report(run, counts, reasons.most_common(NAMED_REASONS))


def _report(run: SyncRun, counts: Counter[str], reasons: Sequence[tuple[str, int]]) -> RunReplay:
    return RunReplay(
        run=run.id, warehouse=run.warehouse, window=str(run.window), **counts, reasons=dict(reasons)
    )
