"""Windows that an older spec has read, and windows that shrank, are read again by the operator's commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.command_line import main
from simulator.server import Server
from tests.support.acme import WHOLE, published, spec_file, wms
from tests.support.store_rows import hour

WINDOWED = {"window": {"params": {"start": "start", "end": "end"}}}
CORRECTED = {"movement_id": "movement_id", "sku_id": {"join": ["sku_id", "warehouse_id"], "separator": "-"}}
SECOND_DAY, THIRD_DAY = "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"
READ = ["--warehouse", "WH-01", "--token-env", "WMS_TOKEN", "--max-reject-ratio", "1"]


def older_windows(store: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """Return the windows that `status` names as read by an older spec."""
    capsys.readouterr()
    assert main(["status", "--store", store, "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["warehouses"]
    windows: list[dict[str, str]] = entry["older_spec"]
    return windows


@pytest.mark.usefixtures("prefect_server", "token")
def test_a_window_of_an_older_spec_is_named_until_a_backfill_reads_it_again(
    tmp_path: Path, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        words = ["--source", source, "--store", store_url, *READ]
        assert main(["sync", *words, "--start", WHOLE["start"], "--end", SECOND_DAY]) == 0
        spec_file(server, tmp_path, **WINDOWED, fields=CORRECTED)
        assert main(["sync", *words, "--start", SECOND_DAY, "--end", THIRD_DAY]) == 0
        assert older_windows(store_url, capsys) == [{"start": WHOLE["start"], "end": SECOND_DAY}]
        days = ["--window-minutes", "1440", "--end", THIRD_DAY]
        assert main(["backfill", *words, *days]) == 0
        assert "0 of 0 windows published" in capsys.readouterr().out
        assert main(["backfill", *words, *days, "--older-spec"]) == 0
        assert "1 of 1 windows published" in capsys.readouterr().out
        assert older_windows(store_url, capsys) == []
        truth = server.ground_truth("WH-01", hour(0), hour(48))
    assert published(store_url) == (truth.valid, truth.units, 2)


def shrink(server: Server, records: int) -> None:
    """Leave fewer records in the source."""
    server.play(replace(server.simulator.scenario, records=records))


@pytest.mark.usefixtures("prefect_server", "token")
def test_a_window_that_shrank_is_held_until_the_operator_accepts_it_or_reads_the_same_again(
    tmp_path: Path, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, source):
        words = ["sync", "--source", source, "--store", store_url, *READ]
        words += ["--start", WHOLE["start"], "--end", WHOLE["end"]]
        assert main(words) == 0
        before = published(store_url)
        shrink(server, 400)
        assert main(words) == 1
        shown = capsys.readouterr()
        assert f"{server.ground_truth('WH-01').valid} rows, {before[0]} published" in shown.out
        assert "accept_shrunk" in shown.out and published(store_url) == before
        assert main([*words, "--accept-shrunk"]) == 0
        accepted = server.ground_truth("WH-01")
        assert published(store_url) == (accepted.valid, accepted.units, 1)
        shrink(server, 100)
        assert [main(words), main(words)] == [1, 0]
        confirmed = server.ground_truth("WH-01")
    assert published(store_url) == (confirmed.valid, confirmed.units, 1)
