"""When a run was due."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import runtime


def scheduled_start() -> datetime:
    """When the run was due; now, outside a run."""
    due = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    return datetime.fromtimestamp(due.timestamp(), UTC)  # Prefect's, a pendulum, loses a UTC zone in sums
