"""The store's tables, and how instants and foreign texts are written."""

from __future__ import annotations

from datetime import UTC, datetime
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
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def instant_text(instant: datetime) -> str:
    """An instant in UTC as text of fixed width, so that the order of the texts is the order in time."""
    in_utc = instant.astimezone(UTC).replace(tzinfo=None)  # a naive one is written in half the time
    return f"{in_utc.isoformat('T', 'microseconds')}+00:00"


def as_instant(value: str | datetime) -> datetime:
    """An instant as a driver gives it: the text above on SQLite."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


class UtcDateTime(TypeDecorator[datetime]):
    """An instant in UTC: TIMESTAMPTZ on PostgreSQL, ISO 8601 text of fixed width on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        text = dialect.name == "sqlite"
        return dialect.type_descriptor(Text() if text else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return instant_text(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else as_instant(value)


class ForeignText(TypeDecorator[str]):
    """Text that came from elsewhere; what a database cannot hold (NUL, a lone surrogate) stands escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _run_key(**options: Any) -> Column[int]:
    return Column("run_key", Integer, ForeignKey("sync_runs.run_key"), nullable=False, **options)


sync_runs = Table(
    "sync_runs",
    metadata,
    Column("run_key", Integer, primary_key=True),
    Column("flow_run_id", ForeignText, nullable=False, unique=True),
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("window_start", UtcDateTime, nullable=False),
    Column("window_end", UtcDateTime, nullable=False),
    Column("total", BigInteger),
    Column("state", Text, nullable=False),
    Column("repairs", Integer, nullable=False, default=0),
    Column("master", Text),
    Column("verdict", Text),
    Column("report", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("superseded_at", UtcDateTime),
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
    Column("cursor_token", ForeignText),
    Column("extra_fields", Text, nullable=False, default="{}"),
    Column("unknown_skus", Text, nullable=False, server_default="{}"),
    Column("error", ForeignText),
    Column("landed_at", UtcDateTime),
    PrimaryKeyConstraint("run_key", "chunk_index"),
)

movements = Table(
    "movements",
    metadata,
    _run_key(),
    Column("position", BigInteger, nullable=False),
    Column("movement_id", Text),
    Column("sku_id", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("units_moved", BigInteger, nullable=False),
    Column("timestamp_utc", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("run_key", "position"),
    CheckConstraint("units_moved >= 0", name="units_moved"),
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
    PrimaryKeyConstraint("run_key", "position"),
    sqlite_with_rowid=False,
)

# The other names of an item, its own id not among them.
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
    # Its state, and the last change of it: by whom, when and why.
    Column("state", Text, nullable=False, server_default="open"),
    Column("changed_by", ForeignText),
    Column("changed_at", UtcDateTime),
    Column("note", ForeignText),
    PrimaryKeyConstraint("run_key", "stage", "position"),
)

# Which run shows in which stretch of time. The ranges of one source and warehouse never overlap.
published_ranges = Table(
    "published_ranges",
    metadata,
    Column("source", ForeignText, nullable=False),
    Column("warehouse_id", ForeignText, nullable=False),
    Column("range_start", UtcDateTime, nullable=False),
    Column("range_end", UtcDateTime, nullable=False),
    _run_key(index=True),
    PrimaryKeyConstraint("source", "warehouse_id", "range_start"),
    CheckConstraint("range_start < range_end", name="range"),
)

# How far each chunk of a published run has come on its way to each slotting engine.
pushes = Table(
    "pushes",
    metadata,
    _run_key(),
    Column("chunk_index", Integer, nullable=False),
    Column("engine", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("next_position", BigInteger, nullable=False),
    Column("batches", Integer, nullable=False, default=0),
    # The batch that was begun and is not answered yet: its last position, not in it, and where the run showed
    # as it was cut. It is sent again as it was, whatever shows by then.
    Column("until_position", BigInteger),
    Column("visible_ranges", Text),
    Column("idempotency_key", Text),
    # Where all of the chunk had been sent: the positions of rows that came by a replay since, in order.
    Column("replayed", Text),
    Column("accepted", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
    Column("requests", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", ForeignText),
    Column("pushed_at", UtcDateTime),
    PrimaryKeyConstraint("run_key", "chunk_index", "engine"),
)

# What each slotting engine was last told of a SKU, and why it did not take it, where it did not.
sent_classes = Table(
    "sent_classes",
    metadata,
    Column("engine", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("sku_id", Text, nullable=False),
    Column("abc_lines", Text),
    Column("abc_units", Text),
    Column("xyz", Text),
    Column("reason", ForeignText),
    Column("revision", Integer, nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("engine", "source", "warehouse_id", "sku_id"),
)


def _of_a_refresh() -> list[Column[Any]]:
    return [
        Column("source", Text, nullable=False),
        Column("warehouse_id", Text, nullable=False),
        Column("as_of", Date, nullable=False),
    ]


def _completeness() -> list[Column[Any]]:
    return [Column(f"completeness_{days}", Float, nullable=False) for days in (7, 28, 91)]


# Each time that a warehouse's velocity was worked out, the last one of each day.
velocity_refreshes = Table(
    "velocity_refreshes",
    metadata,
    *_of_a_refresh(),
    Column("time_zone", Text, nullable=False),
    Column("compared_with", Date),
    Column("skus", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    *_completeness(),
    Column("incomplete_days", Text, nullable=False),
    Column("thresholds", Text, nullable=False),
    Column("refreshed_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source", "warehouse_id", "as_of"),
)

# What the columns mean is told by `sku_velocity.velocity.figures.measure`.
velocity_figures = Table(
    "sku_velocity",
    metadata,
    *_of_a_refresh(),
    Column("sku_id", Text, nullable=False),
    *(
        Column(f"{what}_{days}", BigInteger, nullable=False)
        for what in ("units", "lines")
        for days in (7, 28, 91)
    ),
    Column("active_days", Integer, nullable=False),
    Column("units_per_active_day", Float, nullable=False),
    Column("units_per_calendar_day", Float, nullable=False),
    Column("last_movement", UtcDateTime, nullable=False),
    Column("days_since_last_movement", Integer, nullable=False),
    Column("trend", Float),
    Column("coefficient_of_variation", Float),
    Column("rank_lines", Integer, nullable=False),
    Column("rank_units", Integer, nullable=False),
    Column("abc_lines", Text, nullable=False),
    Column("abc_units", Text, nullable=False),
    Column("xyz", Text, nullable=False),
    Column("previous_abc_lines", Text),
    Column("previous_abc_units", Text),
    Column("previous_xyz", Text),
    Column("class_changed", Boolean, nullable=False),
    *_completeness(),
    PrimaryKeyConstraint("source", "warehouse_id", "as_of", "sku_id"),
)
