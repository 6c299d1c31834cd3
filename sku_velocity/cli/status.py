"""The command `status`: the status of warehouses, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sku_velocity.cli.executor import current, run
from sku_velocity.cli.next_steps import CommandContext, backfill_older, next_steps
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import RunState
from sku_velocity.model.status import LastRun, OpenRun, StoreSize, WarehouseStatus
from sku_velocity.model.window import Window, iso
from sku_velocity.text import printable

SHOWN_GAPS = 5  # the newest of a warehouse; the JSON lists all
SHOWN_RUNS = 3
SHOWN_TABLES = 3  # the largest; the JSON has all
SHOWN_CHARACTERS = 200  # of a reason
COLUMNS = ("source", "warehouse", "last run", "rows", "rejects", "behind", "gaps")
EMPTY = (
    "The store holds no runs{of} yet. Check the source with `{program} check-source`, then read its last "
    "window with `{program} sync`."
)


def print_statuses(
    statuses: Sequence[WarehouseStatus],
    size: StoreSize,
    now: datetime,
    context: CommandContext,
    console: Console,
    of: str = "",
) -> None:
    """Print a row per warehouse, the size of the store, then each one's problems and the commands to run.

    `of` names what was asked for, to say that there is none.
    """
    if not statuses:
        console.print(EMPTY.format(program=context.program, of=of), markup=False, highlight=False)
        return
    table = Table()
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("rows", "rejects", "behind") else "left")
    for status in statuses:
        table.add_row(*(Text(printable(cell)) for cell in _row(status, now)))
    console.print(table)
    console.print(describe_size(size), markup=False, highlight=False, soft_wrap=True)
    for status in statuses:
        for line in _details(status, now, context):
            console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _row(status: WarehouseStatus, now: datetime) -> list[str]:
    coverage, lag = status.coverage, status.lag(now)
    return [
        coverage.source,
        coverage.label,
        _last_result(status.last_run),
        str(status.rows),
        str(status.rejects),
        "unpublished" if lag is None else duration(lag),
        _summary(status.gaps),
    ]


def _last_result(run: LastRun) -> str:
    is_over = run.state in (RunState.PUBLISHED, RunState.INCOMPLETE)  # a resumed run also has a verdict
    return str(run.verdict if is_over and run.verdict else run.state)


def _summary(gaps: Sequence[Window]) -> str:
    return f"{len(gaps)}: {duration(_total(gaps))}" if gaps else "none"


def _details(status: WarehouseStatus, now: datetime, context: CommandContext) -> list[str]:
    """Return a warehouse's problems and the commands to run next; nothing if there is no problem."""
    gaps, runs = status.gaps, status.coverage.open_runs
    steps = next_steps(status, now, context)
    lines = [f"  gap: {gap} ({duration(gap.end - gap.start)})" for gap in gaps[-SHOWN_GAPS:]]
    if earlier := gaps[:-SHOWN_GAPS]:
        lines.append(f"  and {len(earlier)} earlier gaps, {duration(_total(earlier))} in total")
    if older := status.older_spec:
        again = Window(older[0].start, older[-1].end)
        lines.append(
            f"  {len(older)} published stretches were read by an older spec, the first is {older[0]}; to "
            f"read them again: {backfill_older(status, again, context)}"
        )
    lines += [f"  {_describe(run, now)}" for run in runs[-SHOWN_RUNS:]]
    if len(runs) > SHOWN_RUNS:
        lines.append(f"  and {len(runs) - SHOWN_RUNS} earlier unpublished runs")
    if status.unproven:
        lines.append(
            f"  published, but not proven whole: {_summary(status.unproven)}, last {status.unproven[-1]}"
        )
    if status.rechecked_at:
        revised = status.revisions
        lines.append(
            f"  last recheck {duration(now - status.rechecked_at)} ago; {revised.windows} revisions so far: "
            f"rows {revised.added} added, {revised.changed} changed, {revised.removed} removed"
        )
    if status.archived:
        archived = status.archived
        lines.append(f"  archived: {archived.rows} rows until {iso(archived.until)}, in {archived.to}")
    if status.is_late(now) and status.complete_until:
        lines.append(f"  late: nothing is published after {iso(status.complete_until)}")
    if not lines and not steps:
        return []
    title = f"{status.coverage.label} from {status.coverage.source}"
    return ["", title, *lines, *(["  Next:"] if steps else []), *steps]


def _describe(run: OpenRun, now: datetime) -> str:
    landed = f"{run.landed} of {run.chunks} chunks landed"
    age = duration(now - run.active_at)
    if run.state is not RunState.RUNNING:
        what = "incomplete"
    else:
        what = f"being read, last seen {age} ago" if run.is_being_read(now) else f"stalled for {age}"
    reason = f": {_short(run.reason)}" if run.reason else ""
    return f"run {run.id} of {run.window}: {what}, {landed}{reason}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _total(windows: Sequence[Window]) -> timedelta:
    return sum((window.end - window.start for window in windows), timedelta())


def duration(length: timedelta) -> str:
    """Format a length of time in its two largest units, down to minutes."""
    minutes = max(0, int(length.total_seconds()) // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min"


def status_as_json(status: WarehouseStatus, now: datetime, context: CommandContext) -> dict[str, Any]:
    """Return a warehouse's status as JSON; lengths of time are seconds, instants are ISO 8601 in UTC."""
    lag, run = status.lag(now), status.last_run
    return {
        "source": status.coverage.source,
        "warehouse": status.coverage.warehouse,
        "last_run": {
            "run_id": run.id,
            "window": _window(run.window),
            "state": run.state,
            "verdict": run.verdict,
            "began_at": iso(run.began_at),
        },
        "rows": status.rows,
        "archived": status.archived and {**status.archived._asdict(), "until": iso(status.archived.until)},
        "rejects": status.rejects,
        "complete_until": status.complete_until and iso(status.complete_until),
        "lag_seconds": None if lag is None else round(lag.total_seconds()),
        "late": status.is_late(now),
        "gaps": [_window(gap) for gap in status.gaps],
        "unproven": [_window(each) for each in status.unproven],
        "older_spec": [_window(each) for each in status.older_spec],
        "rechecked_at": status.rechecked_at and iso(status.rechecked_at),
        "revisions": status.revisions._asdict(),
        "open_runs": [_open_run(each, now) for each in status.coverage.open_runs],
        "next_steps": next_steps(status, now, context),
    }


def size_as_json(size: StoreSize) -> dict[str, Any]:
    """Return the size of the store as JSON, in bytes."""
    return {
        "bytes": size.bytes,
        "free_bytes": size.free,
        "bytes_by_table": size.tables,
        "bytes_per_published_day": size.bytes_per_day,
        "growth_bytes_per_day": size.growth_per_day,
    }


def describe_size(size: StoreSize) -> str:
    """Return the size of the store, its largest tables and its growth as a line."""
    text = f"Store: {_bytes(size.bytes)}"
    if size.free:
        text += f", {_bytes(size.free)} of them free"
    if size.tables:
        largest = list(size.tables.items())[:SHOWN_TABLES]
        text += f" ({', '.join(f'{name} {_bytes(number)}' for name, number in largest)})"
    if size.bytes_per_day is not None and size.growth_per_day is not None:
        text += f"; {_bytes(size.bytes_per_day)} per published day of a warehouse"
        text += f"; it grows by {_bytes(size.growth_per_day)} a day"
    return text


def _bytes(number: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 2**10:.0f} KiB"


def _open_run(run: OpenRun, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "window": _window(run.window),
        "state": run.state,
        "being_read": run.is_being_read(now),
        "active_at": iso(run.active_at),
        "chunks": run.chunks,
        "landed": run.landed,
        "reason": run.reason,
    }


def _window(window: Window) -> dict[str, str] | None:
    """Return a window's bounds, or None for a window of everything."""
    return None if window.is_everything else {"start": iso(window.start), "end": iso(window.end)}


def status(
    *,
    source: str | None = None,
    warehouse: str | None = None,
    token_env: str | None = None,
    store: str | None = None,
    report_as_json: Annotated[bool, Parameter(name="--json")] = False,
    prometheus: bool = False,
) -> int:
    """Show the status of each warehouse: last run, rows, rejects, lag, gaps, open runs, and next steps.

    And the size of the store and its growth. It reads only the store. The exit code is 0 for every status.

    Parameters
    ----------
    source
        Only this source: the path of a spec file (.yaml) or, with Prefect, a wms-source block's name. The
        commands to run next also use it. Omit for all sources; the commands then expect a file, or with
        Prefect a block, with the source's own name.
    warehouse
        Only this warehouse. Default: all.
    token_env
        The environment variable that holds the source's token, for the commands to run next.
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    report_as_json
        Print the status as JSON on one line.
    prometheus
        Print it as metrics, for the textfile collector of Prometheus' node_exporter.
    """
    if report_as_json and prometheus:
        raise ConfigurationError("--json and --prometheus are given: remove one of the two")
    found = current().context()
    context = CommandContext(found.program, source, token_env, store, found.source_suffix)

    now = datetime.now(UTC)

    async def read() -> tuple[list[WarehouseStatus], StoreSize]:
        name = (await found.find_source(source, None)).spec.name if source else None
        async with (await found.find_store(store)).get_store() as opened:
            return await opened.status.of_warehouses(name, warehouse), await opened.size.measure(now)

    statuses, size = run(read())
    if prometheus:
        from sku_velocity.cli.metrics import metrics_of  # imported here: few use it

        print(metrics_of(statuses, size, now), end="")
    elif report_as_json:
        warehouses = [status_as_json(each, now, context) for each in statuses]
        print(json.dumps({"store": size_as_json(size), "warehouses": warehouses}))
    else:
        of = "".join(f" of {name}" for name in (warehouse, source) if name)
        print_statuses(statuses, size, now, context, Console(), of)
    return 0
