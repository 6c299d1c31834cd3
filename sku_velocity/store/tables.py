"""The store's tables, and the column types for instants and foreign text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from sku_velocity.model.velocity_fields import FIELDS

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
YEAR_ONE = 62_135_596_800  # seconds from the first instant of datetime to 1970


def microseconds(instant: datetime) -> int:
    """Return an instant as microseconds since 1970, as SQLite stores it."""
    return (instant - _EPOCH) // _MICROSECOND


def as_instant(value: int | str | datetime) -> datetime:
    """Convert a driver's value to an instant: on SQLite an integer by `microseconds`, or a view's text."""
    if isinstance(value, int):
        return _EPOCH + timedelta(microseconds=value)
    return datetime.fromisoformat(value) if isinstance(value, str) else value


class UtcDateTime(TypeDecorator[datetime]):
    """An instant in UTC: TIMESTAMPTZ on PostgreSQL, microseconds since 1970 on SQLite; views show text."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_number = dialect.name == "sqlite"
        return dialect.type_descriptor(BigInteger() if is_number else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return microseconds(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else as_instant(value)


class _JsonB(UserDefinedType[str]):
    """JSONB whose values are JSON text, as the driver returns it."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "JSONB"


class JsonText(TypeDecorator[str]):
    """JSON text: JSONB on PostgreSQL, which reads it back in a form of its own."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_JsonB() if dialect.name == "postgresql" else Text())


class ForeignText(TypeDecorator[str]):
    """Text from outside; characters that a database cannot hold (NUL, a lone surrogate) are escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return escaped(value)


def escaped(text: str | None) -> str | None:
    """Return text as `ForeignText` stores it."""
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _run_key(**options: Any) -> Column[int]:
    return Column("run_key", Integer, ForeignKey("sync_runs.run_key"), nullable=False, **options)


sync_runs = Table(
    "sync_runs",
    metadata,
    Column("run_key", Integer, primary_key=True),
    Column("run_id", ForeignText, nullable=False, unique=True),
    # The Prefect flow run that started the run, if one did; it may have started several.
    Column("flow_run_id", ForeignText, index=True),
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("window_start", UtcDateTime, nullable=False),
    Column("window_end", UtcDateTime, nullable=False),
    # The length of the windows that the run was asked for, and the zone that they are aligned to.
    Column("window_minutes", Integer),
    Column("window_zone", Text),
    Column("total", BigInteger),
    Column("state", Text, nullable=False),
    Column("repairs", Integer, nullable=False, default=0),
    # Increases with each plan of a source and warehouse; a run that is planned again gets a new one.
    Column("plan_number", Integer, nullable=False, default=1),
    Column("mapping_digest", Text),
    # The spec names movement types, so that velocity counts picks unless count_types is set.
    Column("has_types", Boolean, nullable=False, default=False),
    # If the window was held because it would shrink: the number of rows of that reading.
    Column("held_rows", BigInteger),
    # The command line, source and token's variable by which the run was asked for, for commands to paste.
    Column("program", Text),
    Column("source_option", ForeignText),
    Column("token_env", ForeignText),
    Column("master", Text),
    Column("verdict", Text),
    Column("report", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("superseded_at", UtcDateTime),
    # When a recheck last looked at the published window, when one last found it to be as in the source, and
    # when the source last reported changed records in it.
    Column("looked_at", UtcDateTime),
    Column("unchanged_at", UtcDateTime),
    Column("changed_at", UtcDateTime),
    # When the movements of the published run were archived, where, and how many: since then they are not
    # visible any more, and are deleted.
    Column("archived_at", UtcDateTime),
    Column("archived_to", Text),
    Column("archived_rows", BigInteger),
)

chunks = Table(
    "chunks",
    metadata,
    _run_key(),
    Column("chunk_index", Integer, nullable=False),
    Column("start_offset", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("page_size", Integer, nullable=False),
    Column("overlap", Integer, nullable=False, default=0),
    Column("next_offset", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("fetched", BigInteger, nullable=False, default=0),
    Column("loaded", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
    Column("trimmed", BigInteger, nullable=False, default=0),
    Column("filtered", BigInteger, nullable=False, default=0),
    Column("requests", Integer, nullable=False, default=0),
    Column("retried", Integer, nullable=False, default=0),
    Column("throttled", Integer, nullable=False, default=0),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("first_fingerprint", Text),
    Column("last_fingerprint", Text),
    Column("broken_seams", Integer, nullable=False, default=0),
    Column("ambiguous_seams", Integer, nullable=False, default=0),
    Column("equal_rows", Integer, nullable=False, default=0),
    Column("page_edges", Text, nullable=False, default="[]"),
    Column("page_totals", Text, nullable=False, default="{}"),
    Column("cursor_token", ForeignText),
    Column("extra_fields", Text, nullable=False, default="{}"),
    Column("dropped_values", Text, nullable=False, default="{}"),
    Column("unknown_skus", Text, nullable=False, server_default="{}"),
    Column("error", ForeignText),
    Column("landed_at", UtcDateTime),
    PrimaryKeyConstraint("run_key", "chunk_index"),
)

# No foreign key: on PostgreSQL its check of each row takes more than the rest of a page's transaction.
# What lands a page holds its chunk's row, which is not deleted before the run's movements.
movements = Table(
    "movements",
    metadata,
    Column("run_key", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("movement_id", Text),
    Column("sku_id", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("units_moved", BigInteger, nullable=False),
    Column("timestamp_utc", UtcDateTime, nullable=False),
    # The details, which are null unless the source's spec maps them: `model.movement.DETAILS`.
    Column("movement_type", Text),
    Column("order_id", Text),
    Column("location_id", Text),
    Column("unit_of_measure", Text),
    Column("direction", Text),
    Column("extra", JsonText),
    PrimaryKeyConstraint("run_key", "position"),
    CheckConstraint("units_moved >= 0", name="units_moved"),
    sqlite_with_rowid=False,
)
# For readers that select by time. On SQLite they read a view that shows instants as text: no index helps.
Index(
    "ix_movements_timestamp_utc",
    movements.c.timestamp_utc,
    postgresql_using="brin",
    postgresql_with={"autosummarize": True},
).ddl_if(dialect="postgresql")

# The source's ids of the records that a run did not load, so that it notices one that was read twice.
unloaded_ids = Table(
    "unloaded_ids",
    metadata,
    _run_key(),
    Column("position", BigInteger, nullable=False),
    Column("record_id", Text, nullable=False),
    PrimaryKeyConstraint("run_key", "position"),
    sqlite_with_rowid=False,
)

items = Table(
    "items",
    metadata,
    _run_key(),
    Column("position", BigInteger, nullable=False),
    Column("sku_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("description", Text),
    Column("unit_volume", Float),
    Column("weight", Float),
    Column("units_per_case", BigInteger),
    Column("units_per_pallet", BigInteger),
    PrimaryKeyConstraint("run_key", "position"),
    sqlite_with_rowid=False,
)

# The other names of an item, without its own id.
item_aliases = Table(
    "item_aliases",
    metadata,
    _run_key(),
    Column("position", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("alias", Text, nullable=False),
    PrimaryKeyConstraint("run_key", "position", "ordinal"),
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _run_key(),
    Column("stage", Text, nullable=False, server_default="validation"),
    Column("position", BigInteger, nullable=False),
    Column("record_json", ForeignText, nullable=False),
    Column("reasons", ForeignText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # The state, and its last change: by whom, when and why.
    Column("state", Text, nullable=False, server_default="open"),
    Column("changed_by", ForeignText),
    Column("changed_at", UtcDateTime),
    Column("note", ForeignText),
    PrimaryKeyConstraint("run_key", "stage", "position"),
)

# The time ranges in which each run is published. Those of one source and warehouse never overlap.
published_ranges = Table(
    "published_ranges",
    metadata,
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("range_start", UtcDateTime, nullable=False),
    Column("range_end", UtcDateTime, nullable=False),
    _run_key(index=True),
    # The publication that last changed the rows of the range.
    Column("publication", BigInteger, nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source", "warehouse_id", "range_start"),
    CheckConstraint("range_start < range_end", name="range"),
)

# Every change of what is visible, numbered in the order in which they became visible. Rows are never changed
# or deleted: those of a run outlive it.
publications = Table(
    "publications",
    metadata,
    Column("publication", BigInteger, primary_key=True, autoincrement=False),
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("range_start", UtcDateTime, nullable=False),
    Column("range_end", UtcDateTime, nullable=False),
    Column("run_id", ForeignText, nullable=False, index=True),
    Column("published_at", UtcDateTime, nullable=False),
    Column("cause", Text, nullable=False),
    *(Column(name, BigInteger) for name in ("added", "changed", "removed", "unchanged")),
    Index(None, "source", "warehouse_id", "range_start"),
)

# The rechecks of each warehouse: when the last one looked at a window of it, and up to when the source was
# asked for changed records.
rechecks = Table(
    "rechecks",
    metadata,
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("rechecked_at", UtcDateTime),
    Column("asked_at", UtcDateTime),
    PrimaryKeyConstraint("source", "warehouse_id"),
)

# A row per source and warehouse, which a transaction locks before it reads what is published there.
publishing_locks = Table(
    "publishing_locks",
    metadata,
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("times_taken", BigInteger, nullable=False),
    PrimaryKeyConstraint("source", "warehouse_id"),
)

# The progress of pushing each chunk of a published run to each slotting engine.
pushes = Table(
    "pushes",
    metadata,
    _run_key(),
    Column("chunk_index", Integer, nullable=False),
    Column("engine", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("next_position", BigInteger, nullable=False),
    Column("batches", Integer, nullable=False, default=0),
    # The batch that was begun and is not answered yet: its end position (exclusive), and the ranges in which
    # the run was published when it was cut. It is sent again unchanged, no matter what is published by then.
    Column("until_position", BigInteger),
    Column("visible_ranges", Text),
    Column("movement_fields", Text),  # the details that it has, as JSON
    Column("idempotency_key", Text),
    # The engine refused the open batch as a whole, after an attempt that got no answer.
    Column("is_refused", Boolean, nullable=False, default=False),
    # If all of the chunk was sent before: the positions of rows that a replay added since, in order.
    Column("replayed", Text),
    Column("accepted", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
    Column("requests", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", ForeignText),
    Column("pushed_at", UtcDateTime),
    PrimaryKeyConstraint("run_key", "chunk_index", "engine"),
)

# The engines that had been sent rows of what a run replaced. Those that had answered all of them are
# complete: they are sent only the run's corrections.
revised_engines = Table(
    "revised_engines",
    metadata,
    _run_key(),
    Column("engine", Text, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    PrimaryKeyConstraint("run_key", "engine"),
)

# The rows of a run that differ from what it replaced, or that an engine had rejected there.
revised_rows = Table(
    "revised_rows",
    metadata,
    _run_key(),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_key", "position"),
    sqlite_with_rowid=False,
)

# The rows that a run replaced without a successor of the same id, at positions -1, -2, ...
removed_rows = Table(
    "removed_rows",
    metadata,
    _run_key(),
    Column("position", BigInteger, nullable=False),
    Column("movement_id", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("timestamp_utc", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("run_key", "position"),
    sqlite_with_rowid=False,
)

# The figures last sent to each slotting engine per SKU, as JSON, and the reason if it rejected them.
sent_figures = Table(
    "sent_figures",
    metadata,
    Column("engine", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("sku_id", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Column("reason", ForeignText),
    Column("revision", Integer, nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("engine", "source", "warehouse_id", "sku_id"),
)


def _refresh_key() -> list[Column[Any]]:
    return [
        Column("source", Text, nullable=False),
        Column("warehouse_id", Text, nullable=False),
        Column("as_of", Date, nullable=False),
    ]


def _completeness() -> list[Column[Any]]:
    return [Column(f"completeness_{days}", Float, nullable=False) for days in (7, 28, 91)]


# What each SKU moved on each local day, of one warehouse: how it was counted, and each SKU's first movement.
# Days before `counted_from` cannot be counted in this way, because movements of them are archived.
rollups = Table(
    "rollups",
    metadata,
    Column("source", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("counted_from", Date),
    Column("first_movements", LargeBinary, nullable=False),
    PrimaryKeyConstraint("source", "warehouse_id"),
)

# One local day of a rollup, as of the newest publication that changed it: how many SKUs moved, units by local
# hour as JSON, and the sums of each SKU in `content`. `store.rollup_content` defines the binary columns.
rollup_days = Table(
    "rollup_days",
    metadata,
    Column("source", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("publication", BigInteger, nullable=False),
    Column("skus", Integer, nullable=False),
    Column("hourly", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("source", "warehouse_id", "day"),
)

# The refreshes of each warehouse's velocity, the last one of each day.
velocity_refreshes = Table(
    "velocity_refreshes",
    metadata,
    *_refresh_key(),
    Column("time_zone", Text, nullable=False),
    Column("compared_with", Date),
    Column("skus", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    *_completeness(),
    Column("incomplete_days", Text, nullable=False),
    Column("open_days", Text, nullable=False),  # the dates on which the warehouse worked, as JSON
    Column("settings", Text, nullable=False),  # thresholds and others, as JSON
    Column("master", Text),
    Column("count_types", Text),  # those of the movements that were counted, as JSON; null: all
    Column("refreshed_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source", "warehouse_id", "as_of"),
)

_TYPES = {
    "text": Text,
    "whole": BigInteger,
    "number": Float,
    "flag": Boolean,
    "instant": UtcDateTime,
    "date": Date,
}

# `model.velocity_fields` lists the columns, docs/velocity.md defines them.
velocity_figures = Table(
    "sku_velocity",
    metadata,
    *_refresh_key(),
    Column("sku_id", Text, nullable=False),
    *(Column(each.name, _TYPES[each.kind], nullable=not each.is_required) for each in FIELDS),
    PrimaryKeyConstraint("source", "warehouse_id", "as_of", "sku_id"),
)

# The processes that share a pace, each with its slots; renewed_at is by the database's clock, in seconds.
shared_paces = Table(
    "shared_paces",
    metadata,
    Column("pace", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("wants", Boolean, nullable=False),
    Column("renewed_at", Float(53), nullable=False),
    PrimaryKeyConstraint("pace", "holder"),
)
