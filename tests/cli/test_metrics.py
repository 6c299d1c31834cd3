"""`status --prometheus` prints what a collector of Prometheus reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sku_velocity.cli.metrics import METRICS, STORE_METRICS
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
    found = [sample for family in families for sample in family.samples]
    samples = {sample.name.removeprefix("sku_velocity_"): sample for sample in found}
    of_store = {name: samples.pop(name) for name in list(samples) if name.startswith("store_")}
    assert of_store.keys() == STORE_METRICS.keys() | {"store_table_bytes"}
    assert of_store["store_bytes"].value > 0
    assert samples.keys() == METRICS.keys()
    assert all(each.labels == {"source": "acme", "warehouse": "WH-01"} for each in samples.values())
    assert samples["rows"].value == 980 and samples["open_rejects"].value == 20
    assert samples["late"].value == 1 and samples["lag_seconds"].value > 86_400
    assert samples["last_run_allowed_requests_per_second"].value == 200
    assert samples["last_run_requests"].value >= 10


def test_an_empty_store_has_no_samples(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--store", sqlite_url, "--prometheus") == 0
    families = list(text_string_to_metric_families(capsys.readouterr().out))
    names = {family.name.removeprefix("sku_velocity_") for family in families if family.samples}
    assert names == {"store_bytes", "store_free_bytes", "store_table_bytes"}
    assert METRICS.keys() < {family.name.removeprefix("sku_velocity_") for family in families}
    assert run("status", "--store", sqlite_url, "--prometheus", "--json") == 2
