"""A run behind an API that limits requests, as Prefect Cloud does: nothing is lost, and the pace holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.limited_api import LimitedApi
from tests.support.acme import published, spec_file, wms
from tests.support.checkout import CHECKOUT
from tests.support.prefect_server import PrefectServer

RATE = 25  # requests/s
LIMIT = 30  # requests of the run to its Prefect server in each
PERIOD = 3.0  # seconds


@pytest.mark.usefixtures("token")
def test_a_run_whose_requests_to_prefect_are_refused_loses_nothing(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    pace = {"requests_per_second": RATE, "shared_limit": "limited"}
    paging = {"page_size": 11, "pages_per_chunk": 1}
    with (
        wms(tmp_path) as (server, _),
        LimitedApi(prefect_server.api_url, LIMIT, PERIOD).running() as api,
    ):
        source = spec_file(server, tmp_path, pace=pace, paging=paging)
        words = ["sync", "--source", source, "--store", sqlite_url, "--warehouse", "WH-01", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "flows", *words, "--token-env", "WMS_TOKEN", "--max-reject-ratio", "1"],
            cwd=CHECKOUT,
            env=prefect_server.environment | {"PREFECT_API_URL": api.url, "WMS_TOKEN": "s3cret-token"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        stats, truth = server.stats(), server.ground_truth("WH-01")
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "complete"
    assert published(sqlite_url) == (truth.valid, truth.units, 1)
    assert api.refused and api.busiest_period == LIMIT
    assert stats.first_request and stats.last_request and stats.requests >= 100
    assert stats.requests <= RATE * (stats.last_request - stats.first_request) + 1
