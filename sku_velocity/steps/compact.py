"""The compaction of exported files: each closed UTC date becomes one file, which holds what is published."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime

from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.model.coverage import gaps
from sku_velocity.model.reports import CompactReport, WarehouseFiles
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import CompactRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import check_export
from sku_velocity.steps.velocity import choose_warehouses

DATES = WindowGrid.of(1_440)
AT_ONCE = WindowGrid.of(28 * 1_440)  # while other exports of the warehouse wait


async def compact(context: RunContext, request: CompactRequest) -> Outcome[CompactReport]:
    """Join the exported files of published warehouses. One that fails does not stop the others."""
    check_export(request.export_to)
    await context.find(store=request.store)
    async with context.store() as store:
        published = await store.publications.warehouses()
    chosen = choose_warehouses(published, request.warehouses or [], request.source)
    reports = []
    for source, warehouse in chosen:
        try:
            report = await context.perform(
                compact_warehouse, source, warehouse, request.export_to, request.start, context.due
            )
        except VelocityError as error:
            report = WarehouseFiles(source=source, warehouse=warehouse, error=str(error))
        reports += [report] if report else []
    if chosen and not reports:
        raise ConfigurationError(
            f"export_to {request.export_to} has no files of these warehouses: check it, or export a window "
            "first"
        )
    return _outcome_of(CompactReport(export_to=request.export_to, warehouses=reports))


@step("compact {warehouse} from {source}")
async def compact_warehouse(
    context: RunContext, source: str, warehouse: str, export_to: str, start: date | None, due: datetime
) -> WarehouseFiles | None:
    """Join the files of each date that is closed when the run was due. Return None if there are no files."""
    from sku_velocity.steps.destination import Destination
    from sku_velocity.steps.export import day_window, directory_of, export_window, find_days

    destination = Destination(export_to)
    exported = await asyncio.to_thread(find_days, destination, directory_of(source, warehouse))
    if not exported:
        return None
    first = day_window(max(exported[0], start or exported[0])).start
    today = DATES.floor(due)
    if first >= today:
        return WarehouseFiles(source=source, warehouse=warehouse)
    span = Window(first, today)
    changed = 0
    async with context.store() as store:
        segments = await store.publications.segments(source, warehouse, span)
        closed = whole_days(span, [segment.window for segment in segments])
        for part in [part for stretch in closed for part in AT_ONCE.cut(stretch)]:
            changed += (await export_window(store, destination, source, warehouse, part)).changed
    number = sum((each.end - each.start).days for each in closed)
    return WarehouseFiles(
        source=source,
        warehouse=warehouse,
        closed=number,
        changed=changed,
        incomplete=(span.end - span.start).days - number,
    )


def whole_days(span: Window, published: Sequence[Window]) -> list[Window]:
    """Return the stretches of a span of whole UTC dates in which every date is published whole."""
    return gaps(span, DATES.widen(gaps(span, published)))


def _outcome_of(report: CompactReport) -> Outcome[CompactReport]:
    closed, changed, incomplete = (
        sum(getattr(each, name) for each in report.warehouses) for name in ("closed", "changed", "incomplete")
    )
    total = len(report.warehouses)
    message = f"{changed} of {closed} closed dates of {total} warehouses were written as one file."
    if incomplete:
        message += f" {incomplete} dates are not published whole, and were left as they are."
    failed = [
        f"{each.warehouse} from {each.source}: {each.error}" for each in report.warehouses if each.error
    ]
    if failed:
        message = f"{len(failed)} of {total} warehouses failed: {' | '.join(failed)}. {message}"
        return Outcome("NotCompacted", message, report, is_failed=True)
    return Outcome("Completed", message, report)
