"""What `prune` prints, and its bad usage."""

from __future__ import annotations

import json

import pytest

from sku_velocity.cli.prune import show_pruned
from sku_velocity.model.reports import PruneReport
from sku_velocity.steps.outcome import Outcome
from tests.support.commands import run


def test_the_report_names_the_rows_and_no_artifacts(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prune", "--store", sqlite_url, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "would be pruned" in shown and "their movements" in shown and "artifacts" not in shown
    assert run("prune", "--store", sqlite_url, "--json") == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["dry_run"], report["artifacts"], report["rows"]) == (False, None, {})


@pytest.mark.parametrize("words", [["--superseded-days", "0"], ["--artifact-days", "40000"]])
def test_too_few_or_too_many_days_are_bad_usage(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run("prune", "--store", sqlite_url, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {words[0]}: Input should be") and f"not '{words[1]}'" in error


def test_free_space_is_printed_only_if_there_is_any(capsys: pytest.CaptureFixture[str]) -> None:
    report = PruneReport(dry_run=True, rows={"movements": 1200}, artifacts=3, free_bytes=3 * 2**20)
    show_pruned(Outcome("Completed", "Would prune.", report))
    shown = capsys.readouterr().out
    assert "1,200" in shown and "3.0 MiB of the SQLite file are free" in shown and "artifacts" in shown
    assert report.model_copy(update={"free_bytes": None}).free_space is None
