"""What `refresh-velocity` prints: a warehouse's name is always plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from sku_velocity.cli.refresh_velocity import show_reports
from sku_velocity.model.velocity_report import VelocityReport, VelocityReports
from sku_velocity.steps.outcome import Outcome
from tests.support.commands import run
from tests.support.reports import velocity_report
from tests.support.velocity_store import AS_OF, filled


def report(warehouse: str) -> VelocityReport:
    files = {"html": f"reports/{warehouse}.html"}
    return velocity_report(warehouse=warehouse, classes={"AX": 1, "BY": 2}, files=files)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def printed(capsys: pytest.CaptureFixture[str], warehouse: str) -> str:
    show_reports(Outcome("Completed", "Done.", VelocityReports([report(warehouse)])))
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["WH-01", "[red]x[/]", "[/nope]", "[link=http://x]y[/link]", ":x:"])
def test_a_warehouse_name_is_printed_literally(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, name).count(name) == 2  # in the table, and in the path of its file


def test_a_name_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "\x1b[2J\n")
    assert "\x1b" not in shown and "\ufffd[2J\ufffd" in shown


def test_the_command_prints_what_was_refreshed_and_the_path_of_the_report(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", filled(sqlite_url), "--reports", str(tmp_path), "--as-of", AS_OF]
    assert run("refresh-velocity", *words, "--warehouse", "WH-01", "--time-zone", "Europe/Berlin") == 0
    shown = capsys.readouterr().out
    assert "velocity.acme.WH-01.html" in shown and "100 %" in shown and "2026-04-05" in shown
    assert "Most units" in shown and "Completeness" in shown  # of a single warehouse, the report's sections


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--time-zone", "Mars"], "Mars"),
        (["--warehouse", "WH-09"], "WH-09"),
        (["--abc-a", "0.99"], "ABC thresholds"),
        (["--as-of", "yesterday"], "yesterday"),
    ],
)
def test_the_command_exits_with_2_on_a_wrong_setting(
    sqlite_url: str,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    reason: str,
) -> None:
    assert run("refresh-velocity", "--store", filled(sqlite_url), *words) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and reason in error and "\n" not in error
