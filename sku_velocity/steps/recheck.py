"""A recheck: compare published windows with their source again, and publish what has changed since."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from sku_velocity.completeness import verdict_of
from sku_velocity.errors import ConfigurationError, IncompleteWindowError, RetriableError, SourceMappingError
from sku_velocity.http.exchange import Tally
from sku_velocity.model.master import Master
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.recheck import (
    PublishedWindow,
    RecheckedWindow,
    RecheckReport,
    lateness_of,
    sort_windows,
)
from sku_velocity.model.run import MasterVersion, Plan, RunState, SyncRun, Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.second_look import ChangedRecords, read_changes
from sku_velocity.source.window import WindowReader
from sku_velocity.steps import window as steps
from sku_velocity.steps.outcome import Outcome, outcome_of
from sku_velocity.steps.requests import RecheckRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import check_export, deliver, movements_of, publish_proven, read_whole
from sku_velocity.store import Store
from sku_velocity.store.tables import escaped

LOOKS_PER_STEP = 50
CHANGES_MARGIN = timedelta(minutes=10)  # the clock of the source, and records that it shows late
NAMED_WINDOWS = 5  # in a message; the report has all of them
AS_REQUESTED, REPORTED = "read again as requested", "the source reports changed records"


class Rereading(NamedTuple):
    """A window to read again, and why."""

    window: PublishedWindow
    why: str


class Comparison(NamedTuple):
    """The windows that differ, of the first `looked` ones, and the cost of the run so far."""

    differences: list[Rereading]
    looked: int
    tally: Tally


async def recheck(context: RunContext, request: RecheckRequest) -> Outcome[RecheckReport]:
    """Compare published windows with their source, and read those again that differ.

    It stops at a failure that further windows would have, too. A wrong setting is raised at its end.
    """
    check_export(request.export_to)
    await context.find(
        source=request.source, token_env=request.token_env, store=request.store, engine=request.push
    )
    context.retries = request.task_retries
    movements_of(context)
    run, error = _Recheck(context, request), None
    try:
        await run.perform()
    except (ConfigurationError, RetriableError) as stop:
        error = stop
    report = run.report(error)
    await context.display.show_recheck(report)
    if isinstance(error, ConfigurationError):
        raise error
    return _outcome_of(report)


@dataclass
class _Recheck:
    """The progress of a recheck. What was looked at since it was `due` is not looked at again."""

    context: RunContext
    request: RecheckRequest
    due: datetime = field(init=False)
    tally: Tally = field(default_factory=Tally)
    compared: int = 0
    not_reached: int = 0
    unplaced: int = 0
    windows: list[RecheckedWindow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.due = self.context.due
        self.source = self.context.source.spec.name

    async def perform(self) -> None:
        since = self.due - timedelta(hours=self.request.lookback_hours)
        wrong = await self._ask_for_changes(since) if self.context.source.spec.changes is not None else None
        await self._look_and_read(since)
        if wrong:
            raise wrong

    async def _look_and_read(self, since: datetime) -> None:
        async with self.context.store() as store:
            found = await store.rechecks.windows(self.source, since, self.request.warehouses)
        left = [each for each in sort_windows(found) if each.changed_at or each.known_at < self.due]
        self.not_reached = len(left)
        to_look_at = [each for each in left if not (self.request.full or each.changed_at)]
        for window in left:
            if window not in to_look_at:
                why = REPORTED if window.changed_at else AS_REQUESTED
                await self._read_again(Rereading(window, why))
        for first in range(0, len(to_look_at), LOOKS_PER_STEP):
            for difference in await self._compare(to_look_at[first : first + LOOKS_PER_STEP]):
                await self._read_again(difference)

    def report(self, error: Exception | None) -> RecheckReport:
        return RecheckReport(
            source=self.source,
            full=self.request.full,
            compared=self.compared,
            not_reached=self.not_reached,
            requests=self.tally.requests,
            unplaced=self.unplaced,
            windows=self.windows,
            lateness=lateness_of(self.windows),
            error=str(error) if error else None,
        )

    @property
    def _has_budget(self) -> bool:
        return self.tally.requests < self.request.max_requests

    async def _ask_for_changes(self, since: datetime) -> SourceMappingError | None:
        """Ask the source which records have changed, for each warehouse.

        Return the first answer that is not understood: the windows can be compared all the same.
        """
        wrong: SourceMappingError | None = None
        async with self.context.store() as store:
            places = await store.rechecks.warehouses(self.source)
        for warehouse, span in places:
            is_chosen = self.request.warehouses is None or warehouse in self.request.warehouses
            if is_chosen and self._has_budget:
                try:
                    changes, self.tally = await self.context.perform(ask_for_changes, warehouse, span, since)
                except SourceMappingError as error:
                    wrong = wrong or error
                    continue
                self.unplaced += changes.unplaced
        return wrong

    async def _compare(self, portion: Sequence[PublishedWindow]) -> list[Rereading]:
        """Look at windows, as far as the budget allows, and return those that differ."""
        if not self._has_budget:
            return []
        label = f"{len(portion)} windows from {portion[0]}"
        comparison = await self.context.perform(compare_windows, label, portion, self.request.max_requests)
        self.tally = comparison.tally
        self._count(comparison.looked - len(comparison.differences))
        return comparison.differences

    def _count(self, windows: int) -> None:
        self.compared += windows
        self.not_reached -= windows

    async def _read_again(self, difference: Rereading) -> None:
        """Read the published ranges of a window again, unless the budget is spent.

        Those that are finer than the source's timestamps, published by an older spec, are read as what they
        are a part of.
        """
        if not self._has_budget:
            return
        self._count(1)
        spans = difference.window.ranges
        if not spans[0].is_everything:
            spans = tuple(self.context.source.spec.grain.widen(spans))
        for span in spans:
            read = await self._read_range(difference, span)
            if read is not None:
                self.windows.append(read)
                self.context.log.info("%s", read)

    async def _read_range(self, difference: Rereading, span: Window) -> RecheckedWindow | None:
        """Read a range again as a new run, and publish what differs.

        Return None if there is nothing to report: it was only read because that was requested, and is the
        same, or another run has replaced it meanwhile.
        """
        context, window, before = self.context, difference.window, self.tally
        warehouse, started, began = window.run.warehouse, time.monotonic(), datetime.now(UTC)
        run_id = str(uuid5(UUID(context.run_id(self.source, warehouse, span)), window.run.id))
        outcome: dict[str, Any] = {"failed": True}
        try:
            planned = await context.perform(plan_again, f"{warehouse} {span}", window, span, run_id)
            if planned is None:
                return None
            plan, is_resumed = planned
            looked_at = self.due if is_resumed else began
            run, proof, cost = await read_whole(context, plan, self.request)
            self.tally = cost.tally
            is_proven = verdict_of(proof.checks, run.repairs) is not Verdict.INCOMPLETE
            if is_proven and await context.perform(discard_unchanged, run, looked_at):
                if difference.why == AS_REQUESTED:
                    return None
                return self._rechecked(difference, span, message="read again: its rows are the same")
            seconds = time.monotonic() - started
            cost = replace(cost, tally=cost.tally - before)
            report, chunks = await publish_proven(context, run, proof, cost, seconds)
            report = await deliver(context, run, report, self.request)
            ended = outcome_of(report, chunks)
            outcome = {
                "run_id": report.run_id,
                "verdict": report.verdict,
                "published": report.published,
                "failed": ended.is_failed or not report.published,
                "message": ended.message,
                "publication": report.publication,
                "cause": report.cause,
                "added": report.added or 0,
                "changed": report.changed or 0,
                "removed": report.removed or 0,
            }
            if report.published:
                async with context.store() as store:  # it is as the source now
                    await store.rechecks.note_look(run, looked_at, is_unchanged=True)
        except (IncompleteWindowError, SourceMappingError) as error:  # it concerns only this window
            outcome["message"] = str(error)
        return self._rechecked(difference, span, **outcome)

    def _rechecked(self, difference: Rereading, span: Window, **outcome: Any) -> RecheckedWindow:
        return RecheckedWindow(
            warehouse=difference.window.run.warehouse,
            start=span.start,
            end=span.end,
            why=difference.why,
            known_at=difference.window.known_at,
            seen_at=datetime.now(UTC),
            **outcome,
        )


@step("ask for changes of {warehouse}")
async def ask_for_changes(
    context: RunContext, warehouse: str, span: Window, since: datetime
) -> tuple[ChangedRecords, Tally]:
    """Ask which records of a warehouse have changed since the last time, or else since an instant.

    Their windows are marked, so that they are read again even if this recheck does not reach them.
    """
    name, asked_at = context.source.spec.name, datetime.now(UTC)
    async with context.client() as client, context.store() as store:
        before = await store.rechecks.asked_at(name, warehouse)
        changes = await read_changes(client, warehouse, span, (before or since) - CHANGES_MARGIN)
        if archived := await store.rechecks.note_changes(name, warehouse, changes.instants, asked_at):
            context.log.warning(
                "%s from %s: records of %d archived windows have changed; those windows are final",
                warehouse,
                name,
                archived,
            )
        if changes.unplaced:
            context.log.warning(
                "%s from %s: %d changed records have no valid time, so their windows are unknown",
                warehouse,
                name,
                changes.unplaced,
            )
        return changes, client.tally


@step("compare {label}")
async def compare_windows(
    context: RunContext, label: str, windows: Sequence[PublishedWindow], max_requests: int
) -> Comparison:
    """Compare windows with their source, in order, until the run has sent this many requests."""
    differences: list[Rereading] = []
    looked, masters = 0, dict[MasterVersion, Master]()
    async with context.client() as client, context.store() as store:
        for window in windows:
            if client.tally.requests >= max_requests:
                break
            began = datetime.now(UTC)
            difference = await _find_difference(client, store, window, masters)
            differences += [difference] if difference else []
            await store.rechecks.note_look(window.run, began, is_unchanged=difference is None)
            looked += 1
        return Comparison(differences, looked, client.tally)


async def _find_difference(
    client: SourceClient, store: Store, window: PublishedWindow, masters: dict[MasterVersion, Master]
) -> Rereading | None:
    """Look at a window in the source, and compare its count and its ends with what is stored."""
    run = window.run
    if why := await steps.why_read_again(store, client.spec, run):
        return Rereading(window, why)
    if run.master and run.master not in masters:
        masters[run.master] = await store.masters.load(run.master)
    master = masters[run.master] if run.master else None
    reader = WindowReader.of(client, run.warehouse, run.window, master)
    try:
        look = await reader.look_again(await store.chunks.of(run.id))
    except SourceMappingError as error:
        return Rereading(window, str(error))
    if look.difference:
        return Rereading(window, look.difference)
    for result in look.pages:
        start, end = result.page.offset, result.page.end
        rows, rejects = await store.rechecks.stored(run.id, start, end)
        if _content(rows, rejects) != _content(result.movements, result.dead_letters):
            return Rereading(window, f"other records at positions {start}-{end - 1}")
    return None


def _content(rows: Iterable[MovementRow], rejects: Iterable[DeadLetter]) -> Counter[Any]:
    """Return what a page holds, in any order: an API without a fixed order may return it in another.

    Extra fields are compared as values: a database may return their JSON text in a form of its own.
    """
    contents = Counter[Any](
        (row._replace(position=0, extra=None), row.extra and _frozen(json.loads(row.extra))) for row in rows
    )
    contents.update(escaped(letter.record_json) for letter in rejects)
    return contents


def _frozen(value: Any) -> Any:
    """Return parsed JSON as a hashable value, for which the order of keys does not matter."""
    if isinstance(value, dict):
        return frozenset((name, _frozen(each)) for name, each in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else (isinstance(value, bool), value)


@step("plan {label}")
async def plan_again(
    context: RunContext, label: str, window: PublishedWindow, span: Window, run_id: str
) -> tuple[Plan, bool] | None:
    """Plan to read a published range again, by the same version of the master. Return the plan.

    A retry resumes it: then the second value is True. Return None if the window is not published any more.
    """
    async with (
        context.watch(),
        context.store() as store,
        context.reader(window.run.warehouse, span, window.run.master) as reader,
    ):
        await store.rechecks.note_look(window.run, datetime.now(UTC), is_unchanged=False)
        published = await store.runs.find(window.run.id)
        if published is None or published.state is not RunState.PUBLISHED:
            return None
        run = await store.runs.find(run_id)
        if run is None:
            run = await steps.plan(reader, store, run_id, context.flow_run_id, window.run.grid)
            return Plan(run, await store.chunks.of(run.id)), False
        chunks = await store.chunks.of(run.id)
        if await steps.why_read_again(store, reader.client.spec, run):
            return await steps.replan_window(reader, store, run, chunks), False
        return Plan(run, chunks), True


@step("discard {run.label} if unchanged")
async def discard_unchanged(context: RunContext, run: SyncRun, looked_at: datetime) -> bool:
    """Delete a run that has read the same rows as are published. Return True if it was deleted."""
    async with context.store() as store:
        return await store.rechecks.discard_unchanged(run.id, looked_at)


def _outcome_of(report: RecheckReport) -> Outcome[RecheckReport]:
    """Return how many windows were compared and revised, and what is left."""
    counts = ", ".join(f"{report.total(each)} {each}" for each in ("added", "changed", "removed"))
    message = f"{report.compared} windows compared, {len(report.revised)} revised: rows {counts}."
    if report.lateness:
        message += (
            f" {report.lateness.rows} rows came late, at most {report.lateness.max.at_most:.0f} min after "
            f"the end of their window; settle_minutes {report.lateness.settle_minutes} would have caught 99%."
        )
    if report.not_reached:
        message += f" {report.not_reached} not reached: they come first in the next recheck."
    if report.error:
        return Outcome("Incomplete", f"{message} Stopped: {report.error}", report, is_failed=True)
    if report.failed:
        named = " | ".join(map(str, report.failed[:NAMED_WINDOWS]))
        message += (
            f" {len(report.failed)} not revised or not fully delivered: the next recheck reads those that "
            f"differ; for those published, `sync` with --resume and the run's id does the rest. {named}"
        )
        return Outcome("Incomplete", message, report, is_failed=True)
    return Outcome("Complete", message, report)
