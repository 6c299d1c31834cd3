"""The words of the pipeline as values: movements, windows, chunks, dead letters, results and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MAX_UNITS = 2**63 - 1  # what a BIGINT holds
MAX_TOTAL = 10**12  # records; a source that tells of more in one window tells no total
MAX_ID = 255  # characters
MAX_EXTRA_FIELDS = 100  # names; some sources make keys of their data
OTHER_FIELDS = "(other fields)"
EARLIEST = datetime(2, 1, 1, tzinfo=UTC)  # a year of room at both ends, so that no change of zone overflows
LATEST = datetime(9998, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Rule:
    """One message for all the ways in which a value can break a field's rule."""

    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="rule", custom_error_message=self.message
        )


class _AsInt:
    """Turns what has been checked to be whole (6, 6.0, "6") into an int."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.chain_schema([handler(source), core_schema.int_schema(ge=0, le=MAX_UNITS)])


class _AsDateText:
    """Lets only text pass that begins with a date: a bare number would be read as seconds since 1970."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        date_text = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=r"^\d{4}-\d{2}-\d{2}[Tt ]", strict=True),
            custom_error_type="rule",
            custom_error_message="must be ISO 8601 text such as 2026-03-01T08:30:00Z",
        )
        return core_schema.json_or_python_schema(
            core_schema.chain_schema([date_text, handler(source)]), handler(source)
        )


SKU_ALPHABET = rf"[A-Z0-9-]{{1,{MAX_ID}}}"
NOT_IN_SKU_ALPHABET = f"must be made of A-Z, 0-9 and '-' only, {MAX_ID} of them at most"

SkuId = Annotated[
    str, Field(pattern=f"^{SKU_ALPHABET}$", coerce_numbers_to_str=True), Rule(NOT_IN_SKU_ALPHABET)
]
Name = Annotated[
    str,
    Field(pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", max_length=MAX_ID, coerce_numbers_to_str=True),
    Rule(f"must be a text that is not empty, of at most {MAX_ID} characters"),
]
WarehouseId = Name
UnitsMoved = Annotated[
    Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, ge=0, lt=2**53, multiple_of=1)]
    | Annotated[str, Field(strict=True, pattern=r"^[0-9]{1,19}(\.0*)?$")],
    _AsInt(),
    Rule("must be a whole number of units, 0 or more"),
]
UtcInstant = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST), _AsDateText()]
MovementId = Annotated[
    Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=MAX_ID, coerce_numbers_to_str=True)] | None,
    Rule(f"must be a text of at most {MAX_ID} characters, a number or absent"),
]


class Movement(BaseModel):
    """One movement of one SKU in one warehouse: the contract that every published row keeps.

    `units_moved` counts whole units and is never negative; `timestamp_utc` is an instant, held in UTC;
    `movement_id` is the source's own record id, where it gives one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku_id: SkuId
    warehouse_id: WarehouseId
    units_moved: UnitsMoved
    timestamp_utc: UtcInstant
    movement_id: MovementId = None


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time, `[start, end)`, in UTC.

    Raises ValueError where a bound has no zone or the end is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window's start and end need a zone, such as 2026-03-01T00:00:00Z")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.end <= self.start:
            raise ValueError(f"a window's end must be after its start: {self}")

    @classmethod
    def everything(cls) -> Self:
        """All the time that a movement can bear: for a source that cannot be asked for a window."""
        return cls(EARLIEST, LATEST)

    @classmethod
    def last_hour(cls, now: datetime, settle: timedelta) -> Self:
        """The last whole hour that ended `settle` or more before `now`."""
        end = (now.astimezone(UTC) - settle).replace(minute=0, second=0, microsecond=0)
        return cls(end - timedelta(hours=1), end)

    @property
    def is_everything(self) -> bool:
        return (self.start, self.end) == (EARLIEST, LATEST)

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def overlaps(self, other: Window) -> bool:
        """Whether the two share an instant."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        if self.is_everything:
            return "everything"
        return f"{iso(self.start)}/{iso(self.end)}"


@dataclass(frozen=True)
class Page:
    """One request's share of a chunk: `size` positions from `offset` on.

    It reads up to `overlap` positions before them again. `page_size` is what every page but the last holds.
    """

    offset: int
    size: int
    overlap: int = 0
    page_size: int | None = None

    @property
    def before(self) -> int:
        """How many positions before its own the page reads again."""
        return min(self.overlap, self.offset)

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Chunk:
    """A range of positions in a window, read by one task run in pages of at most `page_size` records.

    Each page reads `overlap` records before its own again, those of the page before it.
    """

    index: int
    offset: int
    size: int
    page_size: int
    overlap: int = 0

    @property
    def end(self) -> int:
        """The first position after the chunk."""
        return self.offset + self.size

    @property
    def label(self) -> str:
        """First and last position, as in `12000-12999`."""
        return f"{self.offset}-{self.end - 1}"

    def followed_by(self, size: int) -> Chunk:
        """The chunk of `size` positions that comes right after."""
        return replace(self, index=self.index + 1, offset=self.end, size=size)

    def pages(self, since: int | None = None) -> Iterator[Page]:
        """The chunk's pages in order, from position `since` on where some have landed already."""
        start = self.offset if since is None else since
        for offset in range(start, self.end, self.page_size):
            size = min(self.page_size, self.end - offset)
            yield Page(offset, size, self.overlap, self.page_size)


@dataclass(frozen=True)
class Reason:
    """Why a record may not pass: the field (a dotted path, empty for the record itself) and the rule."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


@dataclass(frozen=True)
class DeadLetter:
    """A raw record that may not pass: its position in the window, its JSON text and every reason."""

    position: int
    raw: str
    reasons: tuple[Reason, ...]


# A movement as the store takes it: (position, movement_id, sku_id, warehouse_id, units_moved, timestamp_utc).
MovementRow = tuple[int, str | None, str, str, int, datetime]


# An item as the store takes it: (position, sku_id, status, description, unit_volume, its other names).
ItemRow = tuple[int, str, str, str | None, float | None, tuple[str, ...]]


@dataclass(frozen=True)
class PageResult:
    """What one page came to: movements, or items where the source is a master.

    `fetched == loaded + len(dead_letters) + trimmed + filtered` always holds: `trimmed` counts
    records outside the window, `filtered` those that are no movements. `unknown_skus` counts the movements
    of each SKU that the run's master does not know. `extra_fields` counts the records
    that carry a field which the spec does not map. `head` and `tail` are fingerprints of what the page read
    first and last. `next_cursor` and `is_last` say where to go on, where a source pages by cursor. `retried`
    counts requests that were sent again, `throttled` answers that asked to wait, `seconds` is from the first
    request to the last byte.
    """

    page: Page
    fetched: int
    movements: list[MovementRow]
    dead_letters: list[DeadLetter]
    trimmed: int = 0
    filtered: int = 0
    head: str | None = None
    tail: str | None = None
    next_cursor: str | None = None
    is_last: bool | None = None
    extra_fields: Mapping[str, int] = field(default_factory=dict)
    items: list[ItemRow] = field(default_factory=list)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)
    requests: int = 1
    retried: int = 0
    throttled: int = 0
    seconds: float = 0.0

    @property
    def loaded(self) -> int:
        """How many of the page's records may pass."""
        return len(self.movements) + len(self.items)


class ChunkState(StrEnum):
    """Where a chunk stands in the ledger."""

    PLANNED = "planned"
    LANDED = "landed"
    FAILED = "failed"


@dataclass(frozen=True)
class BatchResult:
    """A chunk's row of the ledger: its state and its counts of records, requests and seconds.

    `attempts` counts the times that a task run has landed the chunk or failed to; `next_offset` is the first
    position that has not landed; `error` is the last failure's message, where it failed. `head` and `tail`
    are the fingerprints of what its first page read first and its last page last, `broken_seams` the pages
    in between that did not join; `cursor` is where to go on, where the source pages by cursor.
    """

    chunk: Chunk
    state: ChunkState
    next_offset: int
    attempts: int = 0
    fetched: int = 0
    loaded: int = 0
    rejected: int = 0
    trimmed: int = 0
    filtered: int = 0
    requests: int = 0
    retried: int = 0
    throttled: int = 0
    seconds: float = 0.0
    head: str | None = None
    tail: str | None = None
    broken_seams: int = 0
    cursor: str | None = None
    extra_fields: Mapping[str, int] = field(default_factory=dict)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


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
    batches: list[BatchResult]

    @property
    def pending(self) -> list[BatchResult]:
        """The chunks that have not landed: all of them at first, on a retry what is left."""
        return [batch for batch in self.batches if batch.state is not ChunkState.LANDED]


class Verdict(StrEnum):
    """How a sync run ended."""

    COMPLETE = "complete"
    REPAIRED = "repaired"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Check:
    """One test of the proof: its name, whether it held, and what was found.

    `held` is None where the source does not allow the test.
    """

    name: str
    held: bool | None
    found: str


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
    def has_arrived(self) -> bool:
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


def sum_extra_fields(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts of fields that a spec does not map: the most frequent by name, all others together."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    others = total.pop(OTHER_FIELDS, 0)
    named = total.most_common(MAX_EXTRA_FIELDS)
    others += total.total() - sum(count for _, count in named)
    return dict(named) | ({OTHER_FIELDS: others} if others else {})


def iso(instant: datetime) -> str:
    """An instant as ISO 8601 in UTC, ending in Z, without a fraction where there is none."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
