"""The status of warehouses as metrics of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from sku_velocity.model.status import StoreSize, WarehouseStatus

Value = Callable[[WarehouseStatus, datetime], float | None]


def _lag(status: WarehouseStatus, now: datetime) -> float | None:
    lag = status.lag(now)
    return None if lag is None else lag.total_seconds()


def _reported(name: str, unit: float = 1) -> Value:
    """Return a function that reads a number of the last run's report."""

    def read(status: WarehouseStatus, now: datetime) -> float | None:
        value = status.last_run.report.get(name)
        return None if value is None else value * unit

    return read


def _rate(status: WarehouseStatus, now: datetime) -> float | None:
    report = status.last_run.report
    return report["requests"] / report["seconds"] if report.get("seconds") else None


# By name: its help, and its value; None: there is no such sample.
METRICS: dict[str, tuple[str, Value]] = {
    "lag_seconds": ("Time since the end of the newest published window", _lag),
    "late": ("1 if the next window is overdue", lambda status, now: status.is_late(now)),
    "rows": ("Published records", lambda status, now: status.rows),
    "archived_rows": (
        "Published records in the archive",
        lambda status, now: status.archived.rows if status.archived else 0,
    ),
    "open_rejects": ("Open dead letters of published windows", lambda status, now: status.rejects),
    "gaps": ("Stretches between published windows", lambda status, now: len(status.gaps)),
    "unpublished_runs": ("Runs not published", lambda status, now: len(status.coverage.open_runs)),
    "last_run_start_time_seconds": (
        "When the last run began, since 1970",
        lambda status, now: status.last_run.began_at.timestamp(),
    ),
    "last_run_loaded_rows": ("Records that the last run loaded", _reported("loaded")),
    "last_run_rejects": ("Records that the last run rejected", _reported("rejected")),
    "last_run_requests": ("Requests of the last run", _reported("requests")),
    "last_run_throttled_responses": ("Responses that asked to wait, such as 429", _reported("throttled")),
    "last_run_duration_seconds": ("Duration of the last run", _reported("seconds")),
    "last_run_loop_lag_p99_seconds": ("Lag of the event loop, p99", _reported("loop_lag_p99_ms", 0.001)),
    "last_run_most_tasks": ("Most asyncio tasks at once", _reported("most_tasks")),
    "last_run_requests_per_second": ("Achieved rate", _rate),
    "last_run_allowed_requests_per_second": ("Rate that the spec allows", _reported("allowed_rate")),
}


# Of the store, by name: its help, and its value.
STORE_METRICS: dict[str, tuple[str, Callable[[StoreSize], int | None]]] = {
    "store_bytes": ("Size of the store", lambda size: size.bytes),
    "store_free_bytes": ("Part of a SQLite file that new rows reuse", lambda size: size.free),
    "store_bytes_per_published_day": (
        "Size per published day of a warehouse",
        lambda size: size.bytes_per_day,
    ),
    "store_growth_bytes_per_day": ("Growth of the store per day", lambda size: size.growth_per_day),
}


def metrics_of(statuses: Sequence[WarehouseStatus], size: StoreSize, now: datetime) -> str:
    """Return the metrics of warehouses, and of the store, in Prometheus' text format.

    Those without a value have no sample.
    """
    registry = CollectorRegistry()
    for name, (help_text, size_of) in STORE_METRICS.items():
        if (number := size_of(size)) is not None:
            Gauge(f"sku_velocity_{name}", help_text, registry=registry).set(number)
    tables = Gauge("sku_velocity_store_table_bytes", "Size of a table", ("table",), registry=registry)
    for table, number in (size.tables or {}).items():
        tables.labels(table).set(number)
    for name, (help_text, value_of) in METRICS.items():
        gauge = Gauge(f"sku_velocity_{name}", help_text, ("source", "warehouse"), registry=registry)
        for status in statuses:
            if (value := value_of(status, now)) is not None:
                gauge.labels(status.coverage.source, status.coverage.warehouse).set(value)
    return generate_latest(registry).decode()
