"""The parameters of each operation: one definition for the command's options and the flow's form in the UI.

The text below a field is the help of its option and of its form field; their order is that of the fields.
"""

from __future__ import annotations

import ast
import inspect
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from sku_velocity.model.run import UnknownSku
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.model.velocity import Thresholds, Weekday
from sku_velocity.model.window_grid import MAX_MINUTES, check_minutes
from sku_velocity.source.fields import check_zone

TASK_RETRIES = 2
REPAIRS = 2
MAX_REJECT_RATIO = 0.05
MAX_PARALLEL = 4
CHILD_DEPLOYMENT = "sync-group"
REPORTS = "reports"
ARTIFACT_DAYS = 30
LOOKBACK_HOURS = 72
MAX_REQUESTS = 1_000

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Variation = Annotated[float, Field(ge=0)]
WindowMinutes = Annotated[int, AfterValidator(check_minutes)]
Zone = Annotated[str, AfterValidator(check_zone)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Hours = Annotated[int, Field(ge=1, le=24 * 36_500)]
SettleMinutes = Annotated[int, Field(ge=0, le=MAX_MINUTES)]
CountTypes = Annotated[list[Text], Field(min_length=1)] | None

_THRESHOLDS = Thresholds()


class Request(BaseModel):
    """The parameters of an operation."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        # pydantic's own use_attribute_docstrings searches all modules for the source, for every class.
        for name, text in _field_texts().get(cls.__name__, {}).items():
            cls.model_fields[name].description = text

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as a flow takes them."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def options(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults."""
        return self.model_dump(exclude_defaults=True)


@cache
def _field_texts() -> dict[str, dict[str, str]]:
    """Return the text below each field of this module's classes."""
    classes = [node for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.ClassDef)]
    return {each.name: dict(filter(None, map(_field_text, pairwise(each.body)))) for each in classes}


def _field_text(nodes: tuple[ast.stmt, ast.stmt]) -> tuple[str, str] | None:
    match nodes:
        case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
            return name, inspect.cleandoc(text)
    return None


class StoreRequest(Request):
    """An operation on a store."""

    store: str | None = None
    """A URL without password or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    """


class SourceRequest(Request):
    """An operation on a source and a store."""

    source: Text
    """The path of a spec file (.yaml) or, with Prefect, a wms-source block's name."""
    token_env: str | None = None
    """The environment variable that holds the source's token. Omit for the block's token, or for none."""
    store: str | None = None
    """A URL without password or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    """


class OneWindow(SourceRequest):
    """A window of one warehouse."""

    warehouse: Text
    """The warehouse, as the API names it."""
    start: AwareDatetime | None = None
    """The window's start, in ISO 8601 with its time zone. Omit for one window before its end."""
    end: AwareDatetime | None = None
    """The window's end, exclusive. Omit for the end of the last window settled at the scheduled start."""
    resume: str | None = None
    """The id of an earlier run, to read only what it has not landed. Omit for a new run."""


class OneWindowOfMany(SourceRequest):
    """A window of some warehouses."""

    warehouses: Annotated[list[Text], Field(min_length=1)]
    """The warehouses, as the API names them."""
    start: AwareDatetime | None = None
    """The window's start, in ISO 8601 with its time zone. Omit for one window before its end."""
    end: AwareDatetime | None = None
    """The window's end, exclusive. Omit for the end of the last window settled at the scheduled start."""


class Master(SourceRequest):
    """All items of an ERP."""

    resume: str | None = None
    """The id of an earlier run, to read only what it has not landed. Omit for a new run."""


class ManyWindows(SourceRequest):
    """The windows of some warehouses between two instants."""

    warehouses: Annotated[list[Text], Field(min_length=1)]
    """The warehouses, as the API names them."""
    start: AwareDatetime | None = None
    """The start, in ISO 8601 with its time zone. Omit for the start of each warehouse's first run."""
    end: AwareDatetime | None = None
    """The end, exclusive. Omit for the end of the last window settled at the scheduled start, which is also
    the latest possible end."""
    newest_first: bool = False
    """Read the newest windows first, instead of the oldest."""
    older_spec: bool = False
    """Also read windows again that another spec has read: other fields, filters or request."""
    max_parallel: Positive = 1
    """Windows read at the same time. With Prefect, more than 1 needs a source with a shared pace."""


class Reading(Request):
    """How a window is read, and what it takes to be published."""

    task_retries: Count = TASK_RETRIES
    """Retries per task after a temporary failure of the source or the store."""
    repairs: Count = REPAIRS
    """How many times to reread what is not proven whole."""
    max_reject_ratio: Share = MAX_REJECT_RATIO
    """Publish nothing if a larger share of the records is rejected and they are more than limits.max_rejects
    of the spec. limits.max_reject_ratio of the spec takes precedence."""
    accept_shrunk: bool = False
    """Publish even what loses more than half of the records published there."""
    require_proof: bool = False
    """Publish nothing that cannot be proven whole. Also if limits.require_proof of the spec."""


class MappedReading(Reading):
    """How a window of movements is read, and how its SKUs are mapped."""

    window_minutes: WindowMinutes | None = None
    """Minutes per window: a part of a day, or whole days (1440, or 10080 for a week from Monday). A shorter
    gap is one window. Omit for 60, or for 1440 if the source's window.grain is day."""
    window_zone: Zone | None = None
    """The time zone to whose midnights windows are aligned, such as Europe/Berlin. Omit for UTC, or for the
    source's own if its window.grain is day."""
    settle_minutes: SettleMinutes = SETTLE_MINUTES
    """Minutes to wait after a window ends before reading it, so that late records are in."""
    master: str | None = None
    """The name of the source whose published items map the SKUs. Omit for no mapping."""
    unknown_sku: UnknownSku = UnknownSku.REJECT
    """Reject or pass a movement whose SKU is unknown to the master, or retired."""


class Delivery(Request):
    """What is sent on once a window is published."""

    export_to: str | None = None
    """A directory or a URL such as s3://bucket/path, for the window as Parquet files, one per UTC date. Omit
    for no export."""
    push: str | None = None
    """The path of a slotting engine's file (.yaml), whose token is in $SKU_VELOCITY_ENGINE_TOKEN, or, with
    Prefect, a slotting-engine block's name. Omit for no push."""
    push_spec_changes: bool = False
    """Also push a window that only another spec has changed, in place of what the engine has of it."""


class WindowReading(Delivery, MappedReading):
    """How a window of movements is read, and what follows once it is published."""

    velocity_zone: str | None = None
    """The warehouse's time zone, such as Europe/Berlin. Once the window is published, its velocity is
    refreshed as of the last local day that ended by its end. Omit for no refresh."""
    count_types: CountTypes = None
    """The movement types that velocity counts, such as pick, or all. Omit for pick if the spec names types,
    otherwise for all."""


class SyncRequest(WindowReading, OneWindow):
    """Read one window of one warehouse whole, prove it, publish it in one step, then push it.

    A retry of the run, or another run with `resume`, reads only the chunks that have not landed, and pushes
    only those that the slotting engine has not yet answered.
    """


class SyncGroupRequest(WindowReading, OneWindowOfMany):
    """Read one window of each of some warehouses whole, prove it and publish it, several at a time.

    A warehouse that fails does not affect the others. A retry of the run reads only what is left, and only
    the chunks that have not landed.
    """


class SyncMasterRequest(Reading, Master):
    """Read all items of an ERP, prove that none is missing, and publish them as a new master version.

    Readers see one whole version, this one or the previous one. A retry of the run, or another run with
    `resume`, reads only the chunks that have not landed. The source's spec needs `items`.
    """


class BackfillRequest(WindowReading, ManyWindows):
    """Read every window between two instants that is not published whole, each as a run of its own.

    A window that fails is left missing, and the others are read. A retry of the run reads what is left, and
    only the rest of a window that has landed in part. A wrong setting ends the run at once.
    """


class SyncWarehousesRequest(SourceRequest):
    """Read one window of many warehouses, by runs of sync-group that read some of them each.

    A Retry skips the completed runs, waits for those in progress, and resumes the others as the same flow
    runs from what they have landed; none is started twice. Cancelling this run cancels the runs that it has
    started, and a Retry resumes them. If it crashes, they continue by themselves.
    """

    warehouses: list[Text] | None = None
    """The warehouses, as the API names them. Omit for all that the source lists."""
    start: AwareDatetime | None = None
    """The window's start, in ISO 8601 with its time zone. Omit for one window before its end."""
    end: AwareDatetime | None = None
    """The window's end, exclusive. Omit for the end of the last window settled at the scheduled start."""
    window_minutes: WindowMinutes | None = None
    """Minutes per window: a part of a day, or whole days (1440, or 10080 for a week from Monday). A longer
    range is cut into such windows, a run each. Omit for 60, or for 1440 if the source's window.grain is day,
    and to read a given range as one window."""
    window_zone: Zone | None = None
    """The time zone to whose midnights windows are aligned, such as Europe/Berlin. Omit for UTC, or for the
    source's own if its window.grain is day."""
    max_parallel: Annotated[int, Field(ge=1, le=200)] = MAX_PARALLEL
    """Runs at the same time. More than 1 needs a source with a shared pace."""
    warehouses_per_run: Positive | None = None
    """Warehouses that a run reads. Omit for as many as take about five minutes, by what their last windows
    took, but no more than keep max_parallel runs busy."""
    settle_minutes: SettleMinutes = SETTLE_MINUTES
    """Minutes to wait after a window ends before reading it, so that late records are in."""
    max_reject_ratio: Share | None = None
    """Publish nothing if a larger share is rejected. Omit for the deployment's value."""
    accept_shrunk: bool | None = None
    """Publish even what loses more than half of its records. Omit for the deployment's value."""
    require_proof: bool | None = None
    """Publish nothing that cannot be proven whole. Omit for the deployment's value."""
    master: str | None = None
    """The name of the source whose items map the SKUs. Omit for the deployment's value."""
    unknown_sku: UnknownSku | None = None
    """Reject or pass a movement whose SKU is unknown. Omit for the deployment's value."""
    export_to: str | None = None
    """A directory or URL, for each window as Parquet. Omit for the deployment's value."""
    push: str | None = None
    """The path of a slotting engine's file (.yaml), whose token is in $SKU_VELOCITY_ENGINE_TOKEN, or, with
    Prefect, a slotting-engine block's name. Omit for the deployment's value."""
    push_spec_changes: bool | None = None
    """Also push windows that only another spec has changed. Omit for the deployment's value."""
    deployment: str = CHILD_DEPLOYMENT
    """The name of the sync-group deployment that runs each group."""


class PublishedWindows(SourceRequest):
    """The windows of a source that were published not long ago."""

    warehouses: list[Text] | None = None
    """The warehouses, as the API names them. Omit for all that are published."""
    lookback_hours: Hours = LOOKBACK_HOURS
    """Compare the windows that were published in these hours before the scheduled start."""
    full: bool = False
    """Read each window again whole, instead of comparing only its count and its first and last page."""
    max_requests: Positive = MAX_REQUESTS
    """Begin no further window after this many requests; those that are left come first in the next run."""


class RecheckRequest(Delivery, Reading, PublishedWindows):
    """Compare published windows with their source again, and publish those that have changed since.

    A window that differs is read again, proven and published in place of what was published before, like any
    sync; if it would lose more than half of its rows, it is held until a second reading. A retry of the run
    compares only what it has not compared yet.
    """


class ReplayRequest(StoreRequest):
    """Revalidate a source's open dead letters by its current spec, and publish those that are valid.

    Each is published in the window that it was read in. Nothing is read from the source. Letters of stage
    push, which are rows that a slotting engine refused, are left unchanged.
    """

    source: Text
    """The path of a spec file (.yaml) or, with Prefect, a wms-source block's name. It has the fixed spec."""
    warehouse: Text | None = None
    """Only this warehouse's letters. Omit for all."""
    start: AwareDatetime | None = None
    """Only letters of windows that end after this instant. Omit for no limit."""
    end: AwareDatetime | None = None
    """Only letters of windows that start before this instant. Omit for no limit."""
    reason: str | None = None
    """Only letters whose reasons contain this text, such as units_moved. Omit for all."""
    run: str | None = None
    """Only letters of the sync run with this id. Omit for all."""
    by: str | None = None
    """The user who replays, stored with each letter. Omit for the login or the flow run."""


class RefreshVelocityRequest(StoreRequest):
    """Compute velocity figures, ABC and XYZ classes of each SKU from the published movements.

    A warehouse that fails does not stop the others. A second run for the same day replaces the first.
    """

    warehouses: list[Text] | None = None
    """The warehouses to refresh. Omit for all that have published movements."""
    source: str | None = None
    """The name of the source that they were read from. Omit for all sources."""
    as_of: date | None = None
    """The last day to include, such as 2026-03-01. Omit for the day before the scheduled start, in each
    warehouse's zone."""
    time_zone: str = "UTC"
    """The time zone of the warehouses that time_zones does not name, such as Europe/Berlin."""
    time_zones: dict[str, str] | None = None
    """The time zone of each warehouse that differs from time_zone."""
    count_types: CountTypes = None
    """The movement types to count, such as pick, or all. Omit for pick in windows whose spec names types, and
    for all in the others."""
    reports: Text = REPORTS
    """The directory for the Parquet, CSV and HTML files."""
    abc_a: Share = _THRESHOLDS.a
    """The cumulative share of lines, and of units, at which class A ends."""
    abc_b: Share = _THRESHOLDS.b
    """The cumulative share at which class B ends."""
    xyz_x: Variation = _THRESHOLDS.x
    """The largest coefficient of variation of class X."""
    xyz_y: Variation = _THRESHOLDS.y
    """The largest coefficient of variation of class Y."""
    margin: Share = _THRESHOLDS.margin
    """How far past a border, as a cumulative share, a SKU must be for three days until its class changes."""
    new_days: Annotated[int, Field(ge=1, le=91)] = _THRESHOLDS.new_days
    """SKUs whose first movement is fewer days ago are new: of class N, with a provisional class by rate."""
    open_days: Annotated[list[Weekday], Field(min_length=1)] | None = None
    """The weekdays on which the warehouses work, such as mon. Omit to derive open days from the movements."""
    master: str | None = None
    """The name in the spec of the master whose SKUs all get a row, and whose volumes are used. Omit for the
    one that the newest window was mapped by, if any."""
    push: str | None = None
    """The path of a slotting engine's file (.yaml), whose token is in $SKU_VELOCITY_ENGINE_TOKEN, or, with
    Prefect, a slotting-engine block's name. Omit to push no figures."""


class CompactRequest(StoreRequest):
    """Join the exported files of each UTC date that is over and published whole into one file.

    It holds what is published, also if the date was exported only in part, or was changed by a replay since.
    Dates before the first exported one are left out. A warehouse that fails does not stop the others.
    """

    export_to: Text
    """The directory or URL that the windows were exported to."""
    warehouses: list[Text] | None = None
    """The warehouses whose files are joined. Omit for all that have any."""
    source: str | None = None
    """The name of the source that they were read from. Omit for all sources."""
    start: date | None = None
    """The first date to look at, such as 2026-03-01. Omit for the first exported one."""


class PruneRequest(StoreRequest):
    """Delete superseded and abandoned runs, old velocity and, with Prefect, old artifacts.

    Published data is kept, with its dead letters and the master version that it was mapped by; its oldest
    movements can be archived. An interrupted prune is resumed by the next one.
    """

    superseded_days: Days = 30
    """Days to keep a run after a later one has superseded it."""
    unpublished_days: Days = 30
    """Days to keep a run that stopped without ever being published."""
    letter_days: Days = 365
    """Days to keep a replayed or discarded dead letter of a published run."""
    movement_days: Days | None = None
    """Days to keep the movements of a published window in the store, at least 460; older ones are archived in
    archive_to. Omit to keep all."""
    archive_to: str | None = None
    """The directory or URL for archived movements, as Parquet. They are deleted once they are there."""
    velocity_days: Days = 400
    """Days to keep velocity. The newest of each warehouse is always kept."""
    artifact_days: Days = ARTIFACT_DAYS
    """Days to keep artifacts of ended runs. The latest of each key is always kept."""
    dry_run: bool = False
    """Only count what would be deleted."""
