"""Sample reports of a run, of one of many runs, and of velocity."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sku_velocity.model.reports import RunOutcome
from sku_velocity.model.run import Check, RunReport, Verdict
from sku_velocity.model.velocity_report import VelocityReport

REPORT = RunReport(
    run_id="0199",
    flow_run_id="0198",
    source="acme",
    warehouse="WH-01",
    start=datetime(2026, 3, 1, tzinfo=UTC),
    end=datetime(2026, 3, 2, tzinfo=UTC),
    verdict=Verdict.INCOMPLETE,
    published=False,
    total=1000,
    fetched=1000,
    loaded=990,
    rejected=9,
    trimmed=1,
    filtered=0,
    repairs=0,
    chunks=1,
    failed_chunks=[],
    requests=3,
    retried=1,
    throttled=1,
    seconds=2.5,
    loop_lag_p99_ms=7,
    most_tasks=40,
    extra_fields={"colour": 7, "lot": 7},
    new_fields=["colour"],
    checks=[Check("the total is unchanged", False, "1000 before, 1001 after")],
)

LEFT: dict[str, Any] = {"verdict": None, "published": False, "failed": True, "state": "Crashed"}


def run_outcome(warehouse: str, **parts: Any) -> RunOutcome:
    """Return the outcome of a day that was published whole, with `parts` replaced."""
    fixed: dict[str, Any] = {
        "start": REPORT.start,
        "end": REPORT.end,
        "verdict": Verdict.COMPLETE,
        "loaded": 10,
    }
    fixed |= {"published": True, "failed": False, "state": "Complete", "message": "10 movements published"}
    return RunOutcome(warehouse=warehouse, **fixed | parts)


def velocity_report(**fields: Any) -> VelocityReport:
    """Return the report of a warehouse with one SKU, with `fields` replaced."""
    plain: dict[str, Any] = {
        "source": "acme", "warehouse": "WH-01", "as_of": "2026-04-05", "time_zone": "UTC", "days": 91,
        "open_days": 65, "skus": 1, "units": 5, "lines": 1, "orders": None, "incomplete_days": {},
        "completeness": {7: 1, 28: 1, 91: 1}, "classes": {}, "demand": {}, "movers": [], "up": [], "down": [],
        "new": 0, "new_skus": [], "dead": 0, "dead_skus": [], "compared_with": None, "changed": 0,
        "changes": [], "files": {},
    }  # fmt: skip
    return VelocityReport(**{**plain, **fields})
