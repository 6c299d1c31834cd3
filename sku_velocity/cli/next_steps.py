"""The next steps for a warehouse, as commands to paste into a shell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sku_velocity.model.coverage import gaps
from sku_velocity.model.settle_lag import SETTLE_LAG
from sku_velocity.model.status import OpenRun, SkuMappingPolicy, WarehouseStatus
from sku_velocity.model.window import Window, iso
from sku_velocity.model.window_grid import DAY_MINUTES, HOURS, WindowGrid
from sku_velocity.steps.access import is_file
from sku_velocity.steps.backfill import MAX_WINDOWS
from sku_velocity.steps.command_line import command_line


@dataclass(frozen=True)
class CommandContext:
    """The command in use, and the operator's names for the source, its token and the store.

    What is not given here is as in the last run. A run that named a block is run by its own command line.
    """

    program: str
    source: str | None = None
    token_env: str | None = None
    store: str | None = None
    source_suffix: str = ""

    def command(self, verb: str, status: WarehouseStatus, **options: str | bool) -> str:
        """Return a command for a warehouse, quoted for a shell."""
        coverage, program = status.coverage, self.program
        source, token_env = self.source or f"{coverage.source}{self.source_suffix}", self.token_env
        if self.source is None and (origin := status.last_run.origin):
            source, token_env = origin.source, self.token_env or origin.token_env
            program = self.program if is_file(source) else origin.program
        named = {
            "source": source,
            "token-env": token_env,
            "warehouse": coverage.warehouse,  # empty for a master's items
            "store": self.store if verb != "check-source" else None,
            **options,
        }
        return command_line(f"{program} {verb}", named)

    def list_letters(self, run: OpenRun) -> str:
        """Return the command that lists a run's dead letters by their reasons."""
        return command_line(f"{self.program} dead-letters list", {"run": run.id, "store": self.store})


def next_steps(status: WarehouseStatus, now: datetime, context: CommandContext) -> list[str]:
    """Return the commands that fix a warehouse, in order; none if it needs nothing.

    If the last open run rejected too many records, the first step lists them. If it could not read the source
    either, the next one checks it.
    The next step reads what is missing or, if nothing is, the newest window that was to be read again.
    """
    open_runs = [run for run in status.coverage.open_runs if not run.is_being_read(now)]
    steps = []
    if open_runs and open_runs[-1].has_many_rejects:
        steps.append(context.list_letters(open_runs[-1]))
    if open_runs and open_runs[-1].blames_the_source:
        steps.append(context.command("check-source", status, **_bounds(open_runs[-1].window)))
    missing = missing_windows(status, now)
    single = [run for run in open_runs if run.window == missing[0]] if len(missing) == 1 else []
    if single or (open_runs and not missing):
        steps.append(_sync(status, (single or open_runs)[-1], context))
    elif missing:
        options = _mapping_options(status.last_run.mapping) | _backfill_options(missing, status.grid)
        steps.append(context.command("backfill", status, **options))
    return steps


def backfill_older(status: WarehouseStatus, span: Window, context: CommandContext) -> str:
    """Return the command that reads again what an older spec has read in a span."""
    options = _mapping_options(status.last_run.mapping) | _backfill_options([span], status.grid)
    return context.command("backfill", status, **options, **{"older-spec": True})


def missing_windows(status: WarehouseStatus, now: datetime) -> list[Window]:
    """Return the windows that are due or were attempted, but are neither published nor being read.

    A source that is read as a whole, not by windows, has none missing.
    """
    coverage = status.coverage
    expected = [run.window for run in coverage.open_runs if not run.window.is_everything]
    expected += [status.span] if status.span else []
    due = status.grid.window_before(now - SETTLE_LAG)
    if status.span and status.is_late(now) and due.end > status.span.end:
        expected.append(Window(status.span.end, due.end))
    if not expected:
        return []
    span = Window(min(each.start for each in expected), max(each.end for each in expected))
    being_read = [run.window for run in coverage.open_runs if run.is_being_read(now)]
    return gaps(span, [*(each.window for each in coverage.published), *being_read])


def _sync(status: WarehouseStatus, run: OpenRun, context: CommandContext) -> str:
    verb = "sync" if status.coverage.warehouse else "sync-master"
    how = {"resume": run.id} if run.is_resumable else _bounds(run.window) | _grid_options(run.grid or HOURS)
    return context.command(verb, status, **_mapping_options(run.mapping), **how)


def _backfill_options(missing: list[Window], grid: WindowGrid) -> dict[str, str]:
    """Return the backfill options for these windows: by days if they are too many."""
    if sum((each.end - each.start for each in missing), timedelta()) > MAX_WINDOWS * grid.step:
        grid = WindowGrid.of(DAY_MINUTES, grid.zone.key)
    return _bounds(Window(missing[0].start, missing[-1].end)) | _grid_options(grid)


def _grid_options(grid: WindowGrid) -> dict[str, str]:
    """Return the options that choose the windows of a grid."""
    minutes = {"window-minutes": str(grid.minutes)} if grid.minutes != HOURS.minutes else {}
    return minutes | ({"window-zone": grid.zone.key} if grid.zone != HOURS.zone else {})


def _mapping_options(mapping: SkuMappingPolicy) -> dict[str, str]:
    """Return the options that map SKUs as a run did."""
    return {"master": mapping.master, "unknown-sku": mapping.unknown_sku} if mapping else {}


def _bounds(window: Window) -> dict[str, str]:
    return {} if window.is_everything else {"start": iso(window.start), "end": iso(window.end)}
