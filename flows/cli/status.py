"""How warehouses stand, for people and for machines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blocks.store import find_store
from blocks.wms import find_source
from flows.cli.next_steps import CommandContext, next_steps
from flows.cli.terminal import move_password_to_environment
from sku_velocity.model.run import RunState
from sku_velocity.model.status import LastRun, OpenRun, WarehouseStatus
from sku_velocity.model.window import Window, iso
from sku_velocity.text import printable

SHOWN_GAPS = 5  # of a warehouse, the newest; all of them are in the JSON
SHOWN_RUNS = 3
SHOWN_CHARACTERS = 200  # of a reason
COLUMNS = ("source", "warehouse", "last run", "rows", "rejects", "behind", "gaps")
EMPTY = (
    "No run was ever planned here. See that the source answers with `python -m flows check-source`, "
    "then read its last hour with `python -m flows sync`."
)


def print_statuses(
    statuses: Sequence[WarehouseStatus], now: datetime, words: CommandContext, console: Console
) -> None:
    """A row for each warehouse; then, for each that needs somebody, what is amiss and what to run."""
    if not statuses:
        console.print(EMPTY, markup=False, highlight=False)
        return
    table = Table()
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("rows", "rejects", "behind") else "left")
    for status in statuses:
        table.add_row(*(Text(printable(cell)) for cell in _row(status, now)))
    console.print(table)
    for status in statuses:
        for line in _story(status, now, words):
            console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _row(status: WarehouseStatus, now: datetime) -> list[str]:
    coverage, lag = status.coverage, status.lag(now)
    return [
        coverage.source,
        coverage.label,
        _ended(status.last_run),
        str(status.rows),
        str(status.rejects),
        "nothing yet" if lag is None else duration(lag),
        _summary(status.gaps),
    ]


def _ended(run: LastRun) -> str:
    is_over = run.state in (RunState.PUBLISHED, RunState.INCOMPLETE)  # one that is resumed has a verdict, too
    return str(run.verdict if is_over and run.verdict else run.state)


def _summary(gaps: Sequence[Window]) -> str:
    return f"{len(gaps)}: {duration(_sum(gaps))}" if gaps else "none"


def _story(status: WarehouseStatus, now: datetime, words: CommandContext) -> list[str]:
    """What is amiss with a warehouse, and the commands to run next; nothing where all is well."""
    gaps, runs = status.gaps, status.coverage.open_runs
    steps = next_steps(status, now, words)
    lines = [f"  gap: {gap} ({duration(gap.end - gap.start)})" for gap in gaps[-SHOWN_GAPS:]]
    if earlier := gaps[:-SHOWN_GAPS]:
        lines.append(f"  and {len(earlier)} gaps before them, {duration(_sum(earlier))} in all")
    lines += [f"  {_told(run, now)}" for run in runs[-SHOWN_RUNS:]]
    if len(runs) > SHOWN_RUNS:
        lines.append(f"  and {len(runs) - SHOWN_RUNS} earlier runs that were not published")
    if status.is_late(now) and status.complete_until:
        lines.append(f"  late: nothing is published after {iso(status.complete_until)}")
    if not lines and not steps:
        return []
    title = f"{status.coverage.label} from {status.coverage.source}"
    return ["", title, *lines, *(["  Next:"] if steps else []), *steps]


def _told(run: OpenRun, now: datetime) -> str:
    landed = f"{run.landed} of {run.chunks} chunks landed"
    age = duration(now - run.active_at)
    if run.state is not RunState.RUNNING:
        what = "incomplete"
    else:
        what = f"being read, last seen {age} ago" if run.is_being_read(now) else f"stands still for {age}"
    reason = f": {_short(run.reason)}" if run.reason else ""
    return f"run {run.id} of {run.window}: {what}, {landed}{reason}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _sum(windows: Sequence[Window]) -> timedelta:
    return sum((window.end - window.start for window in windows), timedelta())


def duration(length: timedelta) -> str:
    """A length of time in its two greatest units, down to minutes."""
    minutes = max(0, int(length.total_seconds()) // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min"


def status_as_json(status: WarehouseStatus, now: datetime, words: CommandContext) -> dict[str, Any]:
    """All that is told about a warehouse; lengths of time are seconds, instants are ISO 8601 in UTC."""
    lag, run = status.lag(now), status.last_run
    return {
        "source": status.coverage.source,
        "warehouse": status.coverage.warehouse,
        "last_run": {
            "flow_run_id": run.id,
            "window": _window(run.window),
            "state": run.state,
            "verdict": run.verdict,
            "began_at": iso(run.began_at),
        },
        "rows": status.rows,
        "rejects": status.rejects,
        "complete_until": status.complete_until and iso(status.complete_until),
        "lag_seconds": None if lag is None else round(lag.total_seconds()),
        "late": status.is_late(now),
        "gaps": [_window(gap) for gap in status.gaps],
        "open_runs": [_open_run(each, now) for each in status.coverage.open_runs],
        "next_steps": next_steps(status, now, words),
    }


def _open_run(run: OpenRun, now: datetime) -> dict[str, Any]:
    return {
        "flow_run_id": run.id,
        "window": _window(run.window),
        "state": run.state,
        "being_read": run.is_being_read(now),
        "active_at": iso(run.active_at),
        "chunks": run.chunks,
        "landed": run.landed,
        "reason": run.reason,
    }


def _window(window: Window) -> dict[str, str] | None:
    """A window's bounds, or None for all there is."""
    return None if window.is_everything else {"start": iso(window.start), "end": iso(window.end)}


def status(
    *,
    source: str | None = None,
    warehouse: str | None = None,
    token_env: str | None = None,
    store: str | None = None,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show how each warehouse stands: its last run, rows, rejects, lag, gaps, open runs, and what to do next.

    It reads the store alone and ends with 0, however things stand.

    Parameters
    ----------
    source
        Only this one: a wms-source block's name, or the path of a spec file (.yaml); the commands to run next
        name it so. Default: all, and the commands expect a block of the source's own name.
    warehouse
        Only this one. Default: all.
    token_env
        The environment variable that the commands to run next take the token from.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    report_as_json
        Print it as JSON, in one line.
    """
    words = CommandContext(source, token_env, move_password_to_environment(store))

    async def read() -> list[WarehouseStatus]:
        name = (await find_source(source)).spec.name if source else None
        async with (await find_store(words.store)).get_store() as opened:
            return await opened.statuses(name, warehouse)

    statuses, now = asyncio.run(read()), datetime.now(UTC)
    if report_as_json:
        print(json.dumps([status_as_json(each, now, words) for each in statuses]))
    else:
        print_statuses(statuses, now, words, Console())
    return 0
