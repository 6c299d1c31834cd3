"""The prune flow: delete expired rows from the store and old artifacts from Prefect."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from blocks.store import VelocityStore, find_store
from flows.runtime.ownership import PRUNE
from flows.runtime.retries import TASK_RETRY
from flows.tasks.prune_artifacts import prune_artifacts
from sku_velocity.steps.prune import PruneReport, Retention, prune_store
from sku_velocity.store.pruning import Cutoffs

Days = Annotated[int, Field(ge=1, le=36_500)]
DEFAULTS = Retention()
ARTIFACT_DAYS = 30
KEY = "sku-velocity-pruned"
KINDS = {
    "sync_runs": "runs",
    "chunks": "their chunks",
    "movements": "their movements",
    "items": "their items",
    "item_aliases": "their item aliases",
    "dead_letters": "their dead letters, and expired closed ones",
    "pushes": "their pushed chunks",
    "velocity_refreshes": "velocity refreshes",
    "sku_velocity": "their SKU rows",
}


@task(task_run_name="prune store", **TASK_RETRY)
async def prune_rows(
    address: VelocityStore, cutoffs: Cutoffs, dry_run: bool
) -> tuple[Counter[str], int | None]:
    """Delete the expired rows, or count them. Return the counts and the free bytes of a SQLite file."""
    async with address.get_store() as store:
        pruned = await store.pruning.count(cutoffs) if dry_run else await prune_store(store, cutoffs)
        return pruned, await store.pruning.free_bytes()


@task(task_run_name="prune artifacts", **TASK_RETRY)
async def prune_old_artifacts(ended_before: datetime, dry_run: bool) -> int:
    """Delete the artifacts of runs that ended before an instant, or count them."""
    async with get_client() as client:
        return await prune_artifacts(client, ended_before, dry_run=dry_run)


@flow(name=PRUNE, persist_result=False)
async def prune(
    superseded_days: Days = DEFAULTS.superseded_days,
    unpublished_days: Days = DEFAULTS.unpublished_days,
    letter_days: Days = DEFAULTS.letter_days,
    velocity_days: Days = DEFAULTS.velocity_days,
    artifact_days: Days = ARTIFACT_DAYS,
    store: str | None = None,
    dry_run: bool = False,
) -> Any:
    """Delete superseded and abandoned runs, old velocity and old artifacts.

    Published data is kept, with its dead letters and the master version that it was mapped by. An
    interrupted prune is resumed by the next one.

    Args:
        superseded_days: Days to keep a run after a later one has superseded it.
        unpublished_days: Days to keep a run that stopped without ever being published.
        letter_days: Days to keep a replayed or discarded dead letter of a published run.
        velocity_days: Days to keep velocity. The newest of each warehouse is always kept.
        artifact_days: Days to keep artifacts of ended runs. The latest of each key is always kept.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        dry_run: Only count what would be deleted.
    """
    now = datetime.now(UTC)
    cutoffs = Retention(superseded_days, unpublished_days, letter_days, velocity_days).cutoffs(now)
    rows, free = await prune_rows(await find_store(store), cutoffs, dry_run)
    artifacts = await prune_old_artifacts(now - timedelta(days=artifact_days), dry_run)
    report = PruneReport(dry_run=dry_run, rows=dict(rows), artifacts=artifacts, free_bytes=free)
    await acreate_markdown_artifact(render_prune(report), key=KEY, description="What was pruned")
    return final_state(report)


def count_by_kind(report: PruneReport) -> list[tuple[str, int]]:
    """Return each kind with the number that was deleted, or would be."""
    return [
        *((name, report.rows.get(table, 0)) for table, name in KINDS.items()),
        ("artifacts", report.artifacts),
    ]


def describe_free_space(report: PruneReport) -> str | None:
    """Return a note on a SQLite file's free pages, or None if there are none."""
    if not report.free_bytes:
        return None
    return (
        f"{report.free_bytes / 2**20:.1f} MiB of the SQLite file are free: new rows reuse them. "
        "VACUUM returns them to the disk, but blocks writers while it runs (docs/runbook.md)."
    )


def render_prune(report: PruneReport) -> str:
    """Render a prune as Markdown: the count of each kind."""
    lines = [
        f"# {'Would be pruned' if report.dry_run else 'Pruned'}",
        "",
        "| Kind | Count |",
        "| --- | ---: |",
    ]
    lines += [f"| {name} | {count:,} |" for name, count in count_by_kind(report)]
    if note := describe_free_space(report):
        lines += ["", note]
    return "\n".join(lines)


def final_state(report: PruneReport) -> State[PruneReport]:
    """Return the run's final state: how much was deleted, or would be."""
    runs, refreshes = (report.rows.get(table, 0) for table in ("sync_runs", "velocity_refreshes"))
    verb = "Would prune" if report.dry_run else "Pruned"
    message = (
        f"{verb} {runs} runs and {refreshes} refreshes of velocity, {report.total} rows in all, "
        f"and {report.artifacts} artifacts."
    )
    return Completed(message=message, data=report)
