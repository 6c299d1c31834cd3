"""Sample reports of a run, and of one of many runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sku_velocity.model.reports import RunOutcome
from sku_velocity.model.run import Check, RunReport, Verdict

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
