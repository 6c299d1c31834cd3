"""Running operations by an executor: in this process, or as flows of a Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from sku_velocity.cli.executor import Executor
from sku_velocity.steps import backfill as backfilling
from sku_velocity.steps import compact as compacting
from sku_velocity.steps import group as grouping
from sku_velocity.steps import prune as pruning
from sku_velocity.steps import recheck as rechecking
from sku_velocity.steps import replay as replaying
from sku_velocity.steps import sync as syncing
from sku_velocity.steps import velocity
from sku_velocity.steps.display import Listener
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import (
    BackfillRequest,
    CompactRequest,
    PruneRequest,
    RecheckRequest,
    RefreshVelocityRequest,
    ReplayRequest,
    Request,
    SyncGroupRequest,
    SyncMasterRequest,
    SyncRequest,
)
from sku_velocity.steps.run_context import Operation

Q = TypeVar("Q", bound=Request)
T = TypeVar("T")
Ended = tuple[Outcome[Any], Any]  # the outcome and its report

READING = {"token_env": "WMS_TOKEN", "task_retries": 0}


def perform(executor: Executor, operation: Operation[Q, T], request: Q) -> Ended:
    """Run an operation. Raises what it raises."""
    outcome = executor.run(executor.execute(operation, request, Listener()))
    return outcome, outcome.report


def sync(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    request: dict[str, Any] = {**READING, "warehouse": "WH-01", **parameters}
    return perform(executor, syncing.sync, SyncRequest(source=source, store=store, **request))


def sync_master(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    request = SyncMasterRequest(source=source, store=store, **READING | parameters)
    return perform(executor, syncing.sync_master, request)


def backfill(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    request: dict[str, Any] = {**READING, "warehouses": ["WH-01"], "max_reject_ratio": 1, **parameters}
    return perform(executor, backfilling.backfill, BackfillRequest(source=source, store=store, **request))


def sync_group(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    request: dict[str, Any] = {**READING, "max_reject_ratio": 1, **parameters}
    return perform(executor, grouping.sync_group, SyncGroupRequest(source=source, store=store, **request))


def recheck(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    request: dict[str, Any] = {**READING, "max_reject_ratio": 1, **parameters}
    return perform(executor, rechecking.recheck, RecheckRequest(source=source, store=store, **request))


def replay(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    return perform(executor, replaying.replay, ReplayRequest(source=source, store=store, **parameters))


def refresh_velocity(executor: Executor, store: str, **parameters: Any) -> Ended:
    return perform(executor, velocity.refresh_velocity, RefreshVelocityRequest(store=store, **parameters))


def prune(executor: Executor, store: str, **parameters: Any) -> Ended:
    return perform(executor, pruning.prune, PruneRequest(store=store, **parameters))


def compact(executor: Executor, store: str, export_to: Path | str, **parameters: Any) -> Ended:
    request = CompactRequest(store=store, export_to=str(export_to), **parameters)
    return perform(executor, compacting.compact, request)
