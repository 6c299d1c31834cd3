"""Counts the Prefect artifacts of our old runs, and deletes them page by page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterLatestId
from prefect.exceptions import ObjectNotFound

from flows.runtime.ownership import FLOWS, TAG

PAGE = 100  # artifacts; a page includes their pictures and tables


async def prune_artifacts(
    client: PrefectClient,
    ended_before: datetime,
    *,
    dry_run: bool = False,
    flows: Sequence[str] = FLOWS,
    page: int = PAGE,
) -> int:
    """Delete the artifacts of our runs of these flows that ended before an instant. Return how many.

    Runs without our tag are not ours, even if their flow has the same name: their artifacts stay. The latest
    of each key stays, and so do those of a run that is being retried, as it has not ended. With `dry_run`
    they are only counted.
    """
    pruned = skipped = 0
    while found := await _read(client, flows, ended_before, skipped + (pruned if dry_run else 0), page):
        latest = await _latest_of(client, found)
        prunable = [each for each in found if each not in latest]
        for each in prunable if not dry_run else []:
            with suppress(ObjectNotFound):  # already deleted by somebody else
                await client.delete_artifact(each)
        pruned, skipped = pruned + len(prunable), skipped + len(latest)
    return pruned


async def _read(
    client: PrefectClient, flows: Sequence[str], ended_before: datetime, offset: int, limit: int
) -> list[UUID]:
    # The client's own method cannot filter by flow.
    query: dict[str, Any] = {
        "flows": {"name": {"any_": list(flows)}},
        "flow_runs": {"tags": {"all_": [TAG]}, "end_time": {"before_": ended_before.isoformat()}},
        "sort": "ID_DESC",
        "offset": offset,
        "limit": limit,
    }
    response = await client.request("POST", "/artifacts/filter", json=query)
    return [UUID(each["id"]) for each in response.json()]


async def _latest_of(client: PrefectClient, artifacts: Sequence[UUID]) -> set[UUID]:
    """Return those that the Artifacts page shows as the latest of their keys."""
    latest = ArtifactCollectionFilter(latest_id=ArtifactCollectionFilterLatestId(any_=list(artifacts)))
    found = await client.read_latest_artifacts(artifact_filter=latest, limit=len(artifacts))
    return {each.latest_id for each in found}
