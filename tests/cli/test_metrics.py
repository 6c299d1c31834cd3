"""`status --prometheus` prints what a collector of Prometheus reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sku_velocity.cli.metrics import METRICS
from tests.support.acme import WHOLE, wms
from tests.support.commands import run


@pytest.mark.usefixtures("token")
def test_a_published_warehouse_has_every_metric(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        words = [
            "--source",
            source,
            "--token-env",
            "WMS_TOKEN",
            "--warehouse",
            "WH-01",
            "--store",
            sqlite_url,
        ]
        assert run("sync", *words, "--start", WHOLE["start"], "--end", WHOLE["end"]) == 0
    capsys.readouterr()
    assert run("status", "--store", sqlite_url, "--prometheus") == 0
    families = list(text_string_to_metric_families(capsys.readouterr().out))
    samples = {sample.name: sample for family in families for sample in family.samples}
    assert {name.removeprefix("sku_velocity_") for name in samples} == METRICS.keys()
    assert all(each.labels == {"source": "acme", "warehouse": "WH-01"} for each in samples.values())
    assert samples["sku_velocity_rows"].value == 980 and samples["sku_velocity_open_rejects"].value == 20
    assert samples["sku_velocity_late"].value == 1 and samples["sku_velocity_lag_seconds"].value > 86_400
    assert samples["sku_velocity_last_run_allowed_requests_per_second"].value == 200
    assert samples["sku_velocity_last_run_requests"].value >= 10


def test_an_empty_store_has_no_samples(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--store", sqlite_url, "--prometheus") == 0
    families = list(text_string_to_metric_families(capsys.readouterr().out))
    assert len(families) == len(METRICS) and not any(family.samples for family in families)
    assert run("status", "--store", sqlite_url, "--prometheus", "--json") == 2
