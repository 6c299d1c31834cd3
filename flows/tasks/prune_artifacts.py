"""The Prefect artifacts of this project's runs that ended long ago: counted, and deleted page by page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterLatestId
from prefect.exceptions import ObjectNotFound

PAGE = 100  # artifacts; a page's pictures and tables come with it

# Prefect tells a run's project by the name of its flow alone.
FLOWS = (
    "sync-velocity",
    "sync-warehouses",
    "sync-sku-master",
    "refresh-velocity",
    "backfill",
    "replay-dead-letters",
    "prune",
)


async def prune_artifacts(
    client: PrefectClient,
    ended_before: datetime,
    *,
    dry_run: bool = False,
    flows: Sequence[str] = FLOWS,
    page: int = PAGE,
) -> int:
    """Delete the artifacts of these flows' runs that ended before an instant; gives how many.

    The latest of each key stays, and so do those of a run that is retried, for it has not ended. With
    `dry_run` they are counted alone.
    """
    pruned = kept = 0
    while found := await _read(client, flows, ended_before, kept + (pruned if dry_run else 0), page):
        latest = await _latest_of(client, found)
        doomed = [each for each in found if each not in latest]
        for each in doomed if not dry_run else []:
            with suppress(ObjectNotFound):  # somebody else was faster
                await client.delete_artifact(each)
        pruned, kept = pruned + len(doomed), kept + len(latest)
    return pruned


async def _read(
    client: PrefectClient, flows: Sequence[str], ended_before: datetime, offset: int, limit: int
) -> list[UUID]:
    # The client's own method for this knows no flows to filter by.
    question: dict[str, Any] = {
        "flows": {"name": {"any_": list(flows)}},
        "flow_runs": {"end_time": {"before_": ended_before.isoformat()}},
        "sort": "ID_DESC",
        "offset": offset,
        "limit": limit,
    }
    response = await client.request("POST", "/artifacts/filter", json=question)
    return [UUID(each["id"]) for each in response.json()]


async def _latest_of(client: PrefectClient, artifacts: Sequence[UUID]) -> set[UUID]:
    """Those that the Artifacts page shows as the latest of their keys."""
    wanted = ArtifactCollectionFilter(latest_id=ArtifactCollectionFilterLatestId(any_=list(artifacts)))
    found = await client.read_latest_artifacts(artifact_filter=wanted, limit=len(artifacts))
    return {each.latest_id for each in found}
