"""The public function and names: `import sku_velocity`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import sku_velocity
from simulator.faults import Fault
from tests.support.acme import TOKEN, WHOLE, published, spec_file, wms
from tests.support.days import WINDOWED

WEEK = sku_velocity.Window(*(datetime.fromisoformat(WHOLE[bound]) for bound in ("start", "end")))


def sync(spec: Any, store: str, **options: Any) -> sku_velocity.RunReport:
    arguments = {"store": store, "warehouse": "WH-01", "window": WEEK, "token": TOKEN, "task_retries": 0}
    return asyncio.run(sku_velocity.sync_window(spec, **arguments | options))


def test_every_public_name_can_be_imported_and_no_other() -> None:
    assert all(getattr(sku_velocity, name) for name in sku_velocity.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sku_velocity.nothing  # noqa: B018


def test_a_window_is_read_whole_and_published_with_its_progress(tmp_path: Path, store_url: str) -> None:
    seen: list[tuple[int, int]] = []
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        report = sync(source, store_url, progress=lambda *landed: seen.append(landed))
        again = sync(sku_velocity.load_spec(Path(source)), store_url, resume=report.run_id)
        truth = server.ground_truth("WH-01")
    assert report.published and report.verdict is sku_velocity.Verdict.COMPLETE
    assert (report.flow_run_id, again.run_id) == (None, report.run_id)
    assert published(store_url) == (truth.valid, truth.units, 1)
    assert [landed for landed, _ in seen] == list(range(1, report.chunks + 1))


def test_a_window_that_is_not_proven_is_a_report_and_resume_reads_the_rest(
    tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (server, source):
        report = sync(source, sqlite_url, window=None)
        assert not report.published and report.failed_chunks == [3]
        server.clear()
        server.reset_stats()
        assert sync(source, sqlite_url, window=None, resume=report.run_id).published
        assert server.stats().records < 500


def test_a_wrong_setting_and_an_unknown_option_raise_before_anything_is_read(
    tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        with pytest.raises(sku_velocity.ConfigurationError, match="token"):
            sync(source, sqlite_url, token=None)
        with pytest.raises(ValidationError, match="retrys"):
            sync(source, sqlite_url, retrys=3)
        assert server.stats().requests == 0
