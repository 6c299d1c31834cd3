"""The artifact of many runs."""

from __future__ import annotations

from flows.artifacts.runs import render_runs
from sku_velocity.model.reports import RunsReport
from tests.support.reports import LEFT, run_outcome


def test_a_table_row_escapes_external_text() -> None:
    left = run_outcome("[A](http://evil)", **LEFT, flow_run_id="17")
    [row] = render_runs(RunsReport(source="acme", runs=[left]))
    assert row["warehouse"].startswith(r"\[A\]") and row["verdict"] == "none" and "17" in row["run"]


def test_a_run_without_a_flow_run_is_named_by_its_own_id() -> None:
    [row] = render_runs(RunsReport(source="acme", runs=[run_outcome("A", run_id="b-7")]))
    assert row["run"] == "b-7" and row["published"] == "yes"
