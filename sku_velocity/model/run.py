"""A sync run: its state, its plan, its verdict and its report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import ceil
from typing import NamedTuple
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from sku_velocity.model.chunk import ChunkProgress, ChunkState
from sku_velocity.model.publication import Cause, Publication
from sku_velocity.model.push import PushKind
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import WindowGrid


class RunState(StrEnum):
    """The state of a sync run: being read, refused, visible, or replaced by a later run."""

    RUNNING = "running"
    INCOMPLETE = "incomplete"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"


OPEN = (RunState.RUNNING, RunState.INCOMPLETE)  # the window is not fully read or not proven yet

# The warehouse of runs that read a master: no movement can have it.
NO_WAREHOUSE = ""


class UnknownSku(StrEnum):
    """What to do with a movement whose SKU the master does not know, or has retired."""

    REJECT = "reject"
    PASS = "pass"


class MasterVersion(BaseModel):
    """The version of a master that a run maps its SKUs with, for as long as its rows exist.

    `version` is the id of the run that published it.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    version: str
    unknown_sku: UnknownSku = UnknownSku.REJECT


class Origin(NamedTuple):
    """How a run was asked for: the command line, and the options that name its source and its token."""

    program: str
    source: str
    token_env: str | None


@dataclass(frozen=True)
class SyncRun:
    """One attempt at one window, as in the ledger.

    `flow_run_id` is the id of the Prefect flow run that started it, None if none did. `total` is the number
    of records that the source promised when the run was planned, None if it pages by cursor and promises
    none; `repairs` is how often the window has been reread since. `plan_number` is higher than that of every
    plan of the warehouse before, `mapping_digest` is that of the spec it was read by (None if it was not the
    same for all rows), `held_rows` the number of rows if the window was held because it would shrink. `grid`
    is that of the windows that the run was asked for; None for everything.
    `has_types` is whether that spec names movement types, `origin` how the run was asked for.
    """

    id: str
    source: str
    warehouse: str
    window: Window
    total: int | None
    state: RunState = RunState.RUNNING
    repairs: int = 0
    master: MasterVersion | None = None
    plan_number: int = 1
    mapping_digest: str | None = None
    held_rows: int | None = None
    flow_run_id: str | None = None
    grid: WindowGrid | None = None
    has_types: bool = False
    origin: Origin | None = None

    @property
    def label(self) -> str:
        """What the run reads, for display: its warehouse, or the master's items."""
        return self.warehouse or "items"

    @property
    def is_open(self) -> bool:
        """True if the window is not fully read or not proven yet."""
        return self.state in OPEN


def run_id_of(flow_run_id: str, source: str, warehouse: str, window: Window) -> str:
    """Return the id of the run of a window that a Prefect flow run starts: a retry of it finds its run."""
    place = [source, warehouse, window.start.isoformat(), window.end.isoformat()]
    return str(uuid5(UUID(flow_run_id), json.dumps(place)))


@dataclass(frozen=True)
class Plan:
    """A sync run in the ledger: what was promised, a row for each chunk, and its publication, if any."""

    run: SyncRun
    chunks: list[ChunkProgress]
    publication: Publication | None = None

    @property
    def pending(self) -> list[ChunkProgress]:
        """The chunks that have not landed: all at first, the remaining ones on a retry."""
        return [progress for progress in self.chunks if progress.state is not ChunkState.LANDED]

    def has_at_most(self, pages: int) -> bool:
        """Return whether no more pages than these are planned; by cursor a plan is longer than its window."""
        return sum(ceil(each.chunk.size / each.chunk.page_size) for each in self.chunks) <= pages


class Verdict(StrEnum):
    """How a sync run ended: proven whole, at once or after rereading; read, but not provable; or refused."""

    COMPLETE = "complete"
    REPAIRED = "repaired"
    UNPROVEN = "unproven"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Check:
    """One check of the proof: its name, whether it passed, and what was found.

    `passed` is None if the source does not allow the check; `is_gap` is True if the proof needs it.
    """

    name: str
    passed: bool | None
    detail: str
    is_gap: bool = False


class PushReport(BaseModel):
    """The result of a run's push to a slotting engine, over all attempts so far.

    `accepted` and `rejected` count records, `removed` those that the engine has deleted because the source
    has, `chunks` those with rows to send, and one (-1) for what the run replaced, `requests` those of batches
    with a response; `errors` says why chunks failed.
    """

    model_config = ConfigDict(frozen=True)

    engine: str
    kind: PushKind = PushKind.FIRST
    chunks: int
    failed_chunks: list[int]
    accepted: int
    rejected: int
    removed: int = 0
    requests: int
    errors: list[str]


class RunReport(BaseModel):
    """The result of a sync run: the flow's result and the last line of `sku-velocity sync --json`.

    Counts are records, except `chunks` and `requests`; `retried` counts requests that were retried,
    `throttled` responses that asked to wait; `seconds` is wall time of this attempt.
    `loop_lag_p99_ms` is how late, in milliseconds at the 99th percentile, the tasks' event loop woke sleeping
    tasks; `most_tasks` the most asyncio tasks that it had at once, `allowed_rate` the requests/s that the
    spec allows, None if nothing was read. `master` is the version that SKUs were
    mapped with, `unknown_skus` the number of SKUs that it does not know. `exported` names the directory of
    the exported files, `export_error` says why it was not, `refresh_error` why velocity was not
    refreshed. `publication` is the number and `cause` the reason of the publication; `added`, `changed` and
    `removed` count the rows that differ from what it replaced, None if it replaced nothing (or a master).
    `push` is None if nothing was to be pushed. `warnings` are what an operator should look at
    although no check failed. `extra_fields` counts the records with a field that the spec does not map;
    `new_fields` are those that the last published window did not have.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    flow_run_id: str | None = None
    source: str
    warehouse: str
    start: datetime | None
    end: datetime | None
    verdict: Verdict
    published: bool
    total: int | None
    fetched: int
    loaded: int
    rejected: int
    trimmed: int
    filtered: int
    repairs: int
    chunks: int
    failed_chunks: list[int]
    requests: int
    retried: int
    throttled: int
    seconds: float
    loop_lag_p99_ms: int
    most_tasks: int
    allowed_rate: float | None = None
    extra_fields: dict[str, int]
    new_fields: list[str] = []
    checks: list[Check]
    master: MasterVersion | None = None
    unknown_skus: int = 0
    exported: str | None = None
    export_error: str | None = None
    refresh_error: str | None = None
    publication: int | None = None
    cause: Cause | None = None
    added: int | None = None
    changed: int | None = None
    removed: int | None = None
    push: PushReport | None = None
    warnings: list[str] = []

    def as_published(self, publication: Publication | None) -> RunReport:
        """Return the report with its publication, if there is one."""
        if publication is None:
            return self
        counts = publication.difference._asdict()
        del counts["unchanged"]
        values = {"publication": publication.publication, "cause": publication.cause}
        return self.model_copy(update=values | counts)

    @property
    def why_unproven(self) -> str | None:
        """Why the window is not proven whole although no check failed, and what to set; None if it is."""
        return "; ".join(check.detail for check in self.checks if check.is_gap) or None

    @property
    def is_delivered(self) -> bool:
        """True if the window was published and, if requested, pushed, exported and refreshed."""
        pushed = not (self.push and self.push.failed_chunks)
        return self.published and pushed and not self.export_error and not self.refresh_error

    @property
    def label(self) -> str:
        """What the run read, for display: its warehouse, or the master's items."""
        return self.warehouse or "items"

    @property
    def window(self) -> Window:
        """What the run read."""
        return Window.between(self.start, self.end)

    @property
    def what(self) -> str:
        """The kind of the run's records."""
        return "movements" if self.warehouse else "items"


def unknown_skus(chunks: Iterable[ChunkProgress]) -> Counter[str]:
    """Count the movements of each SKU that the run's master does not know."""
    counted: Counter[str] = Counter()
    for progress in chunks:
        counted.update(progress.unknown_skus)
    return counted


REJECTS = "rejects within the limit"


@dataclass(frozen=True)
class RunStatus:
    """A run's status in the store: its verdict, None until it has ended, and its record counts.

    `reason` is why it is not published, as far as the store knows.
    """

    run_id: str
    state: RunState
    verdict: Verdict | None
    loaded: int
    rejected: int
    reason: str | None = None

    @property
    def is_published(self) -> bool:
        """True if the run is published, or was until a later run replaced it."""
        return self.state in (RunState.PUBLISHED, RunState.SUPERSEDED)


@dataclass(frozen=True)
class PageJoins:
    """What a second look at the source says about the borders between pages, or about the pages.

    `compared` counts what was compared, `broken` what differs. `gap` says why the comparison proves nothing.
    """

    compared: int
    broken: int = 0
    gap: str | None = None


class IdCounts(NamedTuple):
    """How many records with an id a run read, how many ids more than once, and movements loaded without."""

    records: int
    repeated: int
    loaded_without: int


@dataclass(frozen=True)
class FinalCheck:
    """What the source reports once all chunks have landed. None: the source does not allow the check.

    `total` is the current number of records; `ends_agree` whether the window's ends, read again, are
    unchanged; `repeated_ids` how many record ids were read more than once, if records have ids, and
    `without_id` how many records have none although their path is mapped; `contested_names` the ids and
    aliases that more than one item of a master claims; `proof` names the proof of the paging style,
    `why_unproven` says why there is none, and `joins` is its result, unless the ledger holds it.
    `ends_detail` says how many records were found if they are not as many as at first.
    """

    total: int | None = None
    ends_agree: bool | None = None
    repeated_ids: int | None = None
    without_id: int = 0
    contested_names: Sequence[str] | None = None
    proof: str = ""
    why_unproven: str | None = None
    joins: PageJoins | None = None
    ends_detail: str | None = None


@dataclass(frozen=True)
class Precedent:
    """What is published already, to compare a window with before it is published.

    `rows` counts what is published in the window; `held` holds the row counts of earlier readings of it that
    were held; `has_rows` is whether the warehouse ever had rows; `values` are those for which records of the
    source were dropped in published windows, by place in the spec; `extra_fields` are those that the last
    published window had although the spec does not map them.
    """

    rows: int = 0
    held: frozenset[int] = frozenset()
    has_rows: bool = False
    values: Mapping[str, Collection[str]] = field(default_factory=dict)
    extra_fields: Collection[str] = ()
