"""The tasks that push published chunks and changed classes to a slotting engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from prefect import task, unmapped
from prefect.utilities.annotations import quote

from flows.artifacts.sync_run import publish_push
from flows.runtime.connections import PushResources
from flows.runtime.retries import TASK_RETRIES, TASK_RETRY, result_of
from flows.runtime.task_runner import as_they_complete
from sku_velocity.errors import RetriableError
from sku_velocity.masking import hide
from sku_velocity.model.chunk import Chunk
from sku_velocity.model.push import SkuClass
from sku_velocity.model.run import PushReport, SyncRun
from sku_velocity.steps import push as steps


@task(task_run_name="plan push {run.label}", **TASK_RETRY)
async def plan_push(target: PushResources, run: SyncRun) -> list[Chunk]:
    """Return the chunks of a run that the engine has not answered yet: all of them at first."""
    async with target.store() as store:
        return await store.pushes.unpushed(run.id, target.engine.spec.name)


@task(task_run_name="push {run.label} {chunk.label}", **TASK_RETRY)
async def push_chunk(target: PushResources, run: SyncRun, chunk: Chunk) -> None:
    """Send the published rows of a chunk, from the first batch that has not been answered."""
    async with target.store() as store, target.client() as client:
        try:
            await steps.push_chunk(client, store, run.id, chunk.index)
        except Exception as error:
            with suppress(RetriableError):  # the store itself may be what is unavailable
                await store.pushes.fail(run.id, chunk.index, client.spec.name, hide(str(error)))
            raise


@task(task_run_name="report push {run.label}", **TASK_RETRY)
async def report_push(target: PushResources, run: SyncRun) -> PushReport:
    """Add up the push ledger and show it as an artifact."""
    async with target.store() as store:
        engine = target.engine.spec.name
        report = steps.add_up(
            engine, await store.pushes.read(run.id, engine), await store.pushes.unpushed(run.id, engine)
        )
    await publish_push(run, report)
    return report


async def push_published(target: PushResources, run: SyncRun, retries: int = TASK_RETRIES) -> PushReport:
    """Push what is left of a published run, one task per chunk. A failed chunk does not stop the others.

    For use within a flow of the `EventLoopTaskRunner`.
    """
    pending = await result_of(plan_push.with_options(retries=retries).submit(target, run))
    futures = push_chunk.with_options(retries=retries).map(unmapped(target), unmapped(run), pending)
    async for _ in as_they_complete(futures):
        pass
    return await result_of(report_push.with_options(retries=retries).submit(target, run))


@task(task_run_name="push classes of {source}", **TASK_RETRY)
async def push_class_changes(
    target: PushResources, source: str, classes: Sequence[SkuClass]
) -> steps.ClassPush:
    """Send the engine the classes that it does not have yet."""
    async with target.store() as store, target.client() as client:
        return await steps.push_classes(client, store, source, classes)


async def push_velocity(
    target: PushResources, source: str, classes: Sequence[SkuClass], retries: int = TASK_RETRIES
) -> steps.ClassPush:
    """Send a slotting engine those of a source's current classes that changed.

    For use within any async flow. Raises what the task raised.
    """
    pushing = push_class_changes.with_options(retries=retries)
    # Quoted, because Prefect would search each of them for futures.
    return await pushing(target, source, quote(classes))
