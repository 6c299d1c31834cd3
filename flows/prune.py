"""What nobody needs any more, let go: of the store, and of the Prefect server's artifacts."""

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
    "chunks": "chunks of their ledger",
    "movements": "their movements",
    "items": "their items",
    "item_aliases": "their items' other names",
    "dead_letters": "their dead letters, and closed ones",
    "pushes": "chunks of their push ledger",
    "velocity_refreshes": "refreshes of velocity",
    "sku_velocity": "their rows per SKU",
}


@task(task_run_name="prune store", **TASK_RETRY)
async def prune_rows(
    address: VelocityStore, cutoffs: Cutoffs, dry_run: bool
) -> tuple[Counter[str], int | None]:
    """Delete the rows that may go, or count them; and tell how much of a SQLite file is free then."""
    async with address.get_store() as store:
        pruned = await store.pruning.count(cutoffs) if dry_run else await prune_store(store, cutoffs)
        return pruned, await store.pruning.free_bytes()


@task(task_run_name="prune artifacts", **TASK_RETRY)
async def prune_shown(ended_before: datetime, dry_run: bool) -> int:
    """Delete the artifacts of runs that ended long ago, or count them."""
    async with get_client() as client:
        return await prune_artifacts(client, ended_before, dry_run=dry_run)


@flow(name="prune", persist_result=False)
async def prune(
    superseded_days: Days = DEFAULTS.superseded_days,
    unpublished_days: Days = DEFAULTS.unpublished_days,
    letter_days: Days = DEFAULTS.letter_days,
    velocity_days: Days = DEFAULTS.velocity_days,
    artifact_days: Days = ARTIFACT_DAYS,
    store: str | None = None,
    dry_run: bool = False,
) -> Any:
    """Let go of what nobody sees any more: superseded and abandoned runs, old velocity, old artifacts.

    What is published stays, with its dead letters and the master's version that it was mapped by. A prune
    that broke off is gone on with by the next one.

    Args:
        superseded_days: For how many days a run is kept after a later one has superseded it.
        unpublished_days: For how many days a run is kept that was never published and has come to a stop.
        letter_days: For how many days a replayed or discarded dead letter of a published run is kept.
        velocity_days: For how many days velocity is kept. The newest of a warehouse always is.
        artifact_days: For how many days artifacts of ended runs are kept. The latest of each key always is.
        store: A velocity-store block's name, or a URL without password. Empty: $SKU_VELOCITY_STORE.
        dry_run: Count what would go, and let nothing go.
    """
    now = datetime.now(UTC)
    cutoffs = Retention(superseded_days, unpublished_days, letter_days, velocity_days).cutoffs(now)
    rows, free = await prune_rows(await find_store(store), cutoffs, dry_run)
    artifacts = await prune_shown(now - timedelta(days=artifact_days), dry_run)
    report = PruneReport(dry_run=dry_run, rows=dict(rows), artifacts=artifacts, free_bytes=free)
    await acreate_markdown_artifact(render_prune(report), key=KEY, description="What was pruned")
    return final_state(report)


def counted(report: PruneReport) -> list[tuple[str, int]]:
    """Each kind of thing with how many of it went, or would go."""
    return [
        *((name, report.rows.get(table, 0)) for table, name in KINDS.items()),
        ("artifacts", report.artifacts),
    ]


def describe_free_space(report: PruneReport) -> str | None:
    """What is to be said of a SQLite file's free pages; None where there are none."""
    if not report.free_bytes:
        return None
    return (
        f"{report.free_bytes / 2**20:.1f} MiB of the SQLite file are free: new rows fill them; "
        "VACUUM would give them back to the disk, and keeps writers waiting meanwhile (docs/runbook.md)."
    )


def render_prune(report: PruneReport) -> str:
    """A prune as Markdown: how many of each kind."""
    lines = [
        f"# {'Would be pruned' if report.dry_run else 'Pruned'}",
        "",
        "| Kind | Count |",
        "| --- | ---: |",
    ]
    lines += [f"| {name} | {count:,} |" for name, count in counted(report)]
    if told := describe_free_space(report):
        lines += ["", told]
    return "\n".join(lines)


def final_state(report: PruneReport) -> State[PruneReport]:
    """The run's last state: how much went, or would go."""
    runs, refreshes = (report.rows.get(table, 0) for table in ("sync_runs", "velocity_refreshes"))
    verb = "Would prune" if report.dry_run else "Pruned"
    message = (
        f"{verb} {runs} runs and {refreshes} refreshes of velocity, {report.total} rows in all, "
        f"and {report.artifacts} artifacts."
    )
    return Completed(message=message, data=report)
