"""A sync run: its state, its plan, its verdict and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from sku_velocity.model.chunk import ChunkProgress, ChunkState
from sku_velocity.model.window import Window


class RunState(StrEnum):
    """Where a sync run stands: being read, refused, visible, or made invisible by a later run."""

    RUNNING = "running"
    INCOMPLETE = "incomplete"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"


# In place of a warehouse, for the runs that read a master: no movement can bear it.
NO_WAREHOUSE = ""


class UnknownSku(StrEnum):
    """What becomes of a movement whose SKU the master does not know, or has retired."""

    REJECT = "reject"
    PASS = "pass"


class MasterVersion(BaseModel):
    """Which version of a master a run maps its SKUs by, for as long as its rows stand.

    `version` is the id of the run that published it.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    version: str
    unknown_sku: UnknownSku = UnknownSku.REJECT


@dataclass(frozen=True)
class SyncRun:
    """One attempt at one window, as the ledger keeps it. `id` is the Prefect flow run's id.

    `total` is the number of records that the source promised when the run was planned, None where it pages
    by cursor and promises none; `repairs` is how often the window has been read again since.
    """

    id: str
    source: str
    warehouse: str
    window: Window
    total: int | None
    state: RunState = RunState.RUNNING
    repairs: int = 0
    master: MasterVersion | None = None

    @property
    def label(self) -> str:
        """What the run reads, for people: its warehouse, or the master's items."""
        return self.warehouse or "items"

    @property
    def is_open(self) -> bool:
        """Whether the window is still to be read, or proven."""
        return self.state in (RunState.RUNNING, RunState.INCOMPLETE)


@dataclass(frozen=True)
class Plan:
    """A sync run as the ledger has it: what was promised, and a row for each chunk."""

    run: SyncRun
    chunks: list[ChunkProgress]

    @property
    def pending(self) -> list[ChunkProgress]:
        """The chunks that have not landed: all of them at first, on a retry what is left."""
        return [progress for progress in self.chunks if progress.state is not ChunkState.LANDED]


class Verdict(StrEnum):
    """How a sync run ended."""

    COMPLETE = "complete"
    REPAIRED = "repaired"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Check:
    """One test of the proof: its name, whether it held, and what was found.

    `passed` is None where the source does not allow the test.
    """

    name: str
    passed: bool | None
    detail: str


class PushReport(BaseModel):
    """What the push of a run to a slotting engine has come to, by all attempts so far.

    `accepted` and `rejected` count records, `chunks` those with rows, `requests` those of answered batches;
    `errors` says of failed chunks what went wrong.
    """

    model_config = ConfigDict(frozen=True)

    engine: str
    chunks: int
    failed_chunks: list[int]
    accepted: int
    rejected: int
    requests: int
    errors: list[str]


class RunReport(BaseModel):
    """What a sync run came to: the flow's result and the last line of `python -m flows sync --json`.

    Counts are records, except `chunks` and `requests`; `retried` counts requests that were sent again,
    `throttled` answers that asked to wait; `seconds` is wall time of this attempt.
    `loop_lag_p99_ms` is how late, in milliseconds at the 99th percentile, the tasks' event loop woke who
    slept; `most_tasks` the most asyncio tasks that it had at once. `master` is the version that SKUs were
    mapped by, `unknown_skus` the number of SKUs that it does not know. `exported` names the file that the
    window was written to, `export_error` tells why it was not, `refresh_error` why velocity was not worked
    out anew. `push` is None where nothing was to be pushed.
    """

    model_config = ConfigDict(frozen=True)

    flow_run_id: str
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
    extra_fields: dict[str, int]
    checks: list[Check]
    master: MasterVersion | None = None
    unknown_skus: int = 0
    exported: str | None = None
    export_error: str | None = None
    refresh_error: str | None = None
    push: PushReport | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the window was published, and went wherever else it should."""
        pushed = not (self.push and self.push.failed_chunks)
        return self.published and pushed and not self.export_error and not self.refresh_error

    @property
    def label(self) -> str:
        """What the run has read, for people: its warehouse, or the master's items."""
        return self.warehouse or "items"

    @property
    def what(self) -> str:
        """What the run's records are."""
        return "movements" if self.warehouse else "items"


def unknown_skus(chunks: Iterable[ChunkProgress]) -> Counter[str]:
    """The movements of each SKU that the run's master does not know."""
    counted: Counter[str] = Counter()
    for progress in chunks:
        counted.update(progress.unknown_skus)
    return counted


REJECTS = "rejects within the limit"


@dataclass(frozen=True)
class RunStatus:
    """What the store has of a run: its verdict, None until it has ended, and its records by the ledger."""

    state: RunState
    verdict: Verdict | None
    loaded: int
    rejected: int

    @property
    def is_published(self) -> bool:
        """Whether the run shows, or showed until a later one took its place."""
        return self.state in (RunState.PUBLISHED, RunState.SUPERSEDED)


@dataclass(frozen=True)
class FinalCheck:
    """What the source says once all chunks have landed.

    `total` is the number of records now; `ends_agree` whether the window's ends, read again, are what they
    were; `repeated_ids` how many record ids were read more than once; `contested_names` the ids
    and aliases that more than one item of a master claims. None: the source does not allow it.
    """

    total: int | None = None
    ends_agree: bool | None = None
    repeated_ids: int | None = None
    contested_names: Sequence[str] | None = None
