"""The push to a slotting engine: what is published, chunk by chunk, and the classes that changed."""

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
from sku_velocity.model.chunk import Chunk
from sku_velocity.model.push import SkuClass
from sku_velocity.model.run import PushReport, SyncRun
from sku_velocity.steps import push as steps


@task(task_run_name="plan push {run.label}", **TASK_RETRY)
async def plan_push(outlet: PushResources, run: SyncRun) -> list[Chunk]:
    """The chunks of a run that the engine has not answered for: all of them at first."""
    async with outlet.store() as store:
        return await store.pushes.unpushed(run.id, outlet.engine.spec.name)


@task(task_run_name="push {run.label} {chunk.label}", **TASK_RETRY)
async def push_batch(outlet: PushResources, run: SyncRun, chunk: Chunk) -> None:
    """Send what shows of a chunk, from the first batch that has not been answered."""
    async with outlet.store() as store, outlet.client() as client:
        try:
            await steps.push_chunk(client, store, run.id, chunk.index)
        except Exception as error:
            with suppress(RetriableError):  # the store itself may be what is away
                await store.pushes.fail(run.id, chunk.index, client.spec.name, str(error))
            raise


@task(task_run_name="report push {run.label}", **TASK_RETRY)
async def report_push(outlet: PushResources, run: SyncRun) -> PushReport:
    """Add up the push ledger, and show it."""
    async with outlet.store() as store:
        engine = outlet.engine.spec.name
        report = steps.add_up(
            engine, await store.pushes.read(run.id, engine), await store.pushes.unpushed(run.id, engine)
        )
    await publish_push(run, report)
    return report


async def push_published(outlet: PushResources, run: SyncRun, retries: int = TASK_RETRIES) -> PushReport:
    """Push what is left of a published run, a task for each chunk; a chunk that fails stops no other.

    For use within a flow of the `EventLoopTaskRunner`.
    """
    pending = await result_of(plan_push.with_options(retries=retries).submit(outlet, run))
    futures = push_batch.with_options(retries=retries).map(unmapped(outlet), unmapped(run), pending)
    async for _ in as_they_complete(futures):
        pass
    return await result_of(report_push.with_options(retries=retries).submit(outlet, run))


@task(task_run_name="push classes of {source}", **TASK_RETRY)
async def push_class_changes(
    outlet: PushResources, source: str, classes: Sequence[SkuClass]
) -> steps.ClassPush:
    """Tell the engine of those of the classes that it does not know."""
    async with outlet.store() as store, outlet.client() as client:
        return await steps.push_classes(client, store, source, classes)


async def push_velocity(
    outlet: PushResources, source: str, classes: Sequence[SkuClass], retries: int = TASK_RETRIES
) -> steps.ClassPush:
    """Tell a slotting engine of a source's current classes: the changed ones alone.

    For use within any async flow. Raises what the task raised.
    """
    pushing = push_class_changes.with_options(retries=retries)
    # Quoted, for Prefect would search each of them for futures.
    return await pushing(outlet, source, quote(classes))
