"""What to do next about a warehouse, as commands that can be pasted into a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta

from sku_velocity.model.coverage import gaps
from sku_velocity.model.settle_lag import SETTLE_LAG
from sku_velocity.model.status import OpenRun, SkuMappingPolicy, WarehouseStatus
from sku_velocity.model.window import Window, iso
from sku_velocity.steps.backfill import MAX_WINDOWS


@dataclass(frozen=True)
class CommandContext:
    """How the commands name what the operator has named: the source, its token and the store."""

    source: str | None = None
    token_env: str | None = None
    store: str | None = None

    def command(self, verb: str, status: WarehouseStatus, **options: str) -> str:
        """A command about a warehouse, quoted for a shell."""
        coverage = status.coverage
        named = {
            "source": self.source or coverage.source,
            "token-env": self.token_env,
            "warehouse": coverage.warehouse,  # none, for a master's items
            "store": self.store if verb != "check-source" else None,
            **options,
        }
        words = [word for name, value in named.items() if value for word in (f"--{name}", value)]
        return shlex.join(["python", "-m", "flows", verb, *words])


def next_steps(status: WarehouseStatus, now: datetime, words: CommandContext) -> list[str]:
    """The commands that bring a warehouse back, in their order; none where all is well.

    Where the last open run could not read the source, or rejected too much of it, the source is looked at
    first. Then whatever is missing is read, or where nothing is, the newest window that was to be read again.
    """
    open_runs = [run for run in status.coverage.open_runs if not run.is_being_read(now)]
    steps = []
    if open_runs and open_runs[-1].blames_the_source:
        steps.append(words.command("check-source", status, **_bounds(open_runs[-1].window)))
    missing = missing_windows(status, now)
    alone = [run for run in open_runs if run.window == missing[0]] if len(missing) == 1 else []
    if alone or (open_runs and not missing):
        steps.append(_sync(status, (alone or open_runs)[-1], words))
    elif missing:
        options = _mapped(status.last_run.mapping) | _backfill_of(missing)
        steps.append(words.command("backfill", status, **options))
    return steps


def missing_windows(status: WarehouseStatus, now: datetime) -> list[Window]:
    """What is not published, though it was due or somebody has tried, and what nobody is reading now.

    A source that is read whole, and not by windows, misses none.
    """
    coverage = status.coverage
    wanted = [run.window for run in coverage.open_runs if not run.window.is_everything]
    wanted += [status.span] if status.span else []
    if status.span and status.is_late(now):
        wanted.append(Window(status.span.end, Window.last_hour(now, SETTLE_LAG).end))
    if not wanted:
        return []
    span = Window(min(each.start for each in wanted), max(each.end for each in wanted))
    being_read = [run.window for run in coverage.open_runs if run.is_being_read(now)]
    return gaps(span, [*(each.window for each in coverage.published), *being_read])


def _sync(status: WarehouseStatus, run: OpenRun, words: CommandContext) -> str:
    verb = "sync" if status.coverage.warehouse else "sync-master"
    how = {"resume": run.id} if run.is_resumable else _bounds(run.window)
    return words.command(verb, status, **_mapped(run.mapping), **how)


def _backfill_of(missing: list[Window]) -> dict[str, str]:
    """The options of a backfill that reads these stretches: by days, where they hold too many hours."""
    hours = sum((each.end - each.start for each in missing), timedelta()) / timedelta(hours=1)
    longer = {"window-hours": "24"} if hours > MAX_WINDOWS else {}
    return _bounds(Window(missing[0].start, missing[-1].end)) | longer


def _mapped(mapping: SkuMappingPolicy) -> dict[str, str]:
    """The options that map SKUs as a run did."""
    return {"master": mapping[0], "unknown-sku": mapping[1]} if mapping else {}


def _bounds(window: Window) -> dict[str, str]:
    return {} if window.is_everything else {"start": iso(window.start), "end": iso(window.end)}
