"""What is ours on a Prefect server that others use too: the flow runs with our tag, and our flows' names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.runtime.prefect_internals import TagsContext

TAG = "sku-velocity"
HEARTBEAT = 30  # seconds; automations.yaml sets a run with our tag to Crashed after 90 s without one
HEARTBEAT_ENVIRONMENT = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY.name: str(HEARTBEAT)}

SYNC = "sku-velocity-sync"
SYNC_GROUP = "sku-velocity-sync-group"
SYNC_WAREHOUSES = "sku-velocity-sync-warehouses"
SYNC_MASTER = "sku-velocity-sync-master"
REFRESH = "sku-velocity-refresh"
BACKFILL = "sku-velocity-backfill"
REPLAY = "sku-velocity-replay"
RECHECK = "sku-velocity-recheck"
COMPACT = "sku-velocity-compact"
PRUNE = "sku-velocity-prune"
FLOWS = (SYNC, SYNC_GROUP, SYNC_WAREHOUSES, SYNC_MASTER, REFRESH, BACKFILL, REPLAY, RECHECK, COMPACT, PRUNE)


@contextmanager
def our_runs() -> Iterator[None]:
    """Tag the flow runs that start in this block, and send their heartbeats as often as the tag promises."""
    with tags(TAG), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT}):
        yield


@contextmanager
def untagged_tasks() -> Iterator[None]:
    """Leave our tag off the task runs in this block: each tag costs a request for its concurrency limit."""
    with TagsContext(current_tags=TagsContext.get().current_tags - {TAG}):
        yield
