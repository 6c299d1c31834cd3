"""A replay publishes the dead letters that a fixed spec accepts, in their windows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import DeadLetterFilter, DeadLetterState, StoredDeadLetter
from sku_velocity.store import Store
from tests.support.acme import WHOLE, published, wms
from tests.support.dead_letters import ledger_of
from tests.support.fixed_spec import fix_spec
from tests.support.operations import replay, sync

pytestmark = pytest.mark.usefixtures("token")


def letters(url: str, **criteria: Any) -> list[StoredDeadLetter]:
    async def read() -> list[StoredDeadLetter]:
        async with Store.open(url) as store:
            return await store.dead_letters.read(DeadLetterFilter(**criteria))

    return asyncio.run(read())


def test_a_replay_publishes_the_rejects_that_a_fixed_spec_accepts(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        report = sync(executor, source, store_url, **WHOLE)[1]
        truth, (source, more) = server.ground_truth("WH-01"), fix_spec(server, tmp_path)
        outcome, replayed = replay(executor, source, store_url)
    assert (
        more > 1
        and outcome.name == "Replayed"
        and f"{more} loaded ({more} of them published)" in outcome.message
    )
    assert published(store_url)[0] == truth.valid + more
    assert asyncio.run(ledger_of(store_url, report.run_id)) == (
        (1000, truth.valid + more, truth.bad - more, 0, 0)
    )
    closed = letters(store_url, state=DeadLetterState.REPLAYED)
    assert len(closed) == more and all(each.change and each.change.by for each in closed)
    assert replay(executor, source, store_url)[1].total("loaded") == 0
    assert replayed.total("rejected") == truth.bad - more


def test_a_window_with_too_many_rejects_is_published_by_a_replay_and_a_retry(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        outcome, report = sync(executor, source, sqlite_url, **WHOLE, max_reject_ratio=0.015)
        assert outcome.name == "Incomplete"
        source, more = fix_spec(server, tmp_path)
        outcome, _ = replay(executor, source, sqlite_url, run=report.run_id, by="jane")
        assert f"{more} loaded (0 of them published)" in outcome.message and published(sqlite_url)[0] == 0
        server.reset_stats()
        outcome, _ = sync(executor, source, sqlite_url, **WHOLE, max_reject_ratio=0.015, resume=report.run_id)
        truth = server.ground_truth("WH-01")
        assert server.stats().requests > 10  # rows of two mappings never meet: it was read by the fixed spec
    assert outcome.name == "Repaired" and published(sqlite_url)[0] == truth.valid + more


def test_a_replay_is_limited_to_matching_letters(executor: Executor, tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (server, source):
        sync(executor, source, sqlite_url, **WHOLE)
        source, more = fix_spec(server, tmp_path)
        no_zone = server.ground_truth("WH-01").defects["no_zone"]
        for nothing in ({"warehouse": "WH-02"}, {"end": "2026-02-01T00:00:00Z"}, {"reason": "no such"}):
            assert replay(executor, source, sqlite_url, **nothing)[1].runs == []
        assert replay(executor, source, sqlite_url, reason="timestamp_utc")[1].total("loaded") == no_zone
        assert replay(executor, source, sqlite_url, start=WHOLE["start"])[1].total("loaded") == more - no_zone


def test_a_master_is_not_replayed(executor: Executor, tmp_path: Path, sqlite_url: str) -> None:
    path = tmp_path / "erp.yaml"
    items = {"sku_id": "code", "aliases": "barcodes", "status": {"const": "active"}}
    path.write_text(yaml.safe_dump({"name": "erp", "base_url": "http://127.0.0.1:1", "items": items}))
    with pytest.raises(ConfigurationError, match="sync-master"):
        replay(executor, str(path), sqlite_url)
