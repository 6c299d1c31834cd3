"""The reports of what works on more than one window: a backfill, a replay, a compaction, a prune."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window


class RunOutcome(BaseModel):
    """The result of one window of a backfill or of a fan-out.

    `published` says whether its rows are visible; `verdict` is that of its run, None without one. `failed` is
    true if the run did not succeed: what it read may be published, but not exported or pushed. `state` and
    `message` are those that its run ended with. `run_id` is None if no run was started or if it broke off
    early. `seconds` is its run time.
    """

    model_config = ConfigDict(frozen=True)

    warehouse: str
    start: datetime
    end: datetime
    verdict: Verdict | None = None
    published: bool = False
    failed: bool = True
    state: str = ""
    message: str
    loaded: int = 0
    rejected: int = 0
    seconds: float = 0.0
    run_id: str | None = None
    flow_run_id: str | None = None

    def __str__(self) -> str:
        state = f"{self.state}: " if self.state else ""
        return f"{self.warehouse} {Window(self.start, self.end)}: {state}{self.message}"


class RunsReport(BaseModel):
    """The result of a backfill or a fan-out: each of its windows, in the order of reading."""

    model_config = ConfigDict(frozen=True)

    source: str
    runs: list[RunOutcome]

    @property
    def left(self) -> list[RunOutcome]:
        """Return the windows that are not published."""
        return [run for run in self.runs if not run.published]

    @property
    def failed(self) -> list[RunOutcome]:
        """Return the windows whose run did not succeed."""
        return [run for run in self.runs if run.failed]

    @property
    def unproven(self) -> list[RunOutcome]:
        """Return the windows that are published although the source allows no proof."""
        return [run for run in self.runs if run.published and run.verdict is Verdict.UNPROVEN]


class RunReplay(BaseModel):
    """The result of a replay of one run's dead letters.

    `validated` letters were `loaded`, `trimmed` or `filtered`; the others stay open: `rejected` by the
    current spec too, for `reasons`; `repeated` because the run already holds their record id; or `waiting`
    because their chunk is being pushed to a slotting engine. Of those loaded, `published` are visible, and
    `unsent` belong to chunks that were already pushed; the next push sends them. `error` says why the run
    was not replayed.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    warehouse: str
    window: str
    validated: int = 0
    loaded: int = 0
    trimmed: int = 0
    filtered: int = 0
    rejected: int = 0
    repeated: int = 0
    waiting: int = 0
    published: int = 0
    unsent: int = 0
    reasons: dict[str, int] = {}
    error: str | None = None


class ReplayReport(BaseModel):
    """The result of a replay, run by run."""

    model_config = ConfigDict(frozen=True)

    source: str
    runs: list[RunReplay]

    def total(self, count: str) -> int:
        """Return the sum of one of the counts of `RunReplay` over all runs."""
        return sum(getattr(run, count) for run in self.runs)


class WarehouseFiles(BaseModel):
    """The result of the compaction of a warehouse's exported files, in UTC dates.

    Of the `closed` dates, which are over and published whole, `changed` were not one file that is up to date.
    The `incomplete` ones are over, but not published whole. `error` says why the compaction broke off.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    warehouse: str
    closed: int = 0
    changed: int = 0
    incomplete: int = 0
    error: str | None = None


class CompactReport(BaseModel):
    """The result of a compaction: each warehouse that has files."""

    model_config = ConfigDict(frozen=True)

    export_to: str
    warehouses: list[WarehouseFiles]


KINDS = {
    "sync_runs": "runs",
    "chunks": "their chunks",
    "movements": "their movements",
    "items": "their items",
    "item_aliases": "their item aliases",
    "dead_letters": "their dead letters, and expired closed ones",
    "pushes": "their pushed chunks",
    "revised_engines": "the engines that they correct",
    "revised_rows": "their corrected rows",
    "removed_rows": "the rows that they remove",
    "velocity_refreshes": "velocity refreshes",
    "sku_velocity": "their SKU rows",
}


class PruneReport(BaseModel):
    """What was deleted, or with `dry_run` would be: rows of the store by table, and Prefect artifacts.

    `archived_windows` is None if none was to be archived; `archived_rows` movements of archived windows were
    deleted, also of those that an interrupted prune had archived. `artifacts` is None without Prefect;
    `free_bytes` is what VACUUM would then free in a SQLite file, None on PostgreSQL.
    """

    model_config = ConfigDict(frozen=True)

    dry_run: bool
    rows: dict[str, int]
    archived_windows: int | None = None
    archived_rows: int = 0
    artifacts: int | None
    free_bytes: int | None

    @property
    def total(self) -> int:
        return sum(self.rows.values())

    @property
    def by_kind(self) -> list[tuple[str, int]]:
        """Each kind with the number that was deleted, or would be."""
        counts = [(name, self.rows.get(table, 0)) for table, name in KINDS.items()]
        if self.archived_windows is not None:
            counts += [
                ("archived windows", self.archived_windows),
                ("movements of those", self.archived_rows),
            ]
        return counts if self.artifacts is None else [*counts, ("artifacts", self.artifacts)]

    @property
    def free_space(self) -> str | None:
        """A note on a SQLite file's free pages, or None if there are none."""
        if not self.free_bytes:
            return None
        return (
            f"{self.free_bytes / 2**20:.1f} MiB of the SQLite file are free: new rows reuse them. "
            "VACUUM returns them to the disk, but blocks writers while it runs (docs/runbook.md)."
        )
