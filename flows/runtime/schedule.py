"""The scheduled start of a run."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import runtime


def scheduled_start() -> datetime:
    """Return when the run was due, or the current time outside a run."""
    due = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    return datetime.fromtimestamp(due.timestamp(), UTC)  # Prefect's, a pendulum, loses a UTC zone in sums
