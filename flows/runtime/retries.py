"""The tasks' retry policy, and a helper that awaits a task's result."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.tasks import Task

from flows.runtime.task_runner import as_they_complete
from sku_velocity.errors import RetriableError

R = TypeVar("R")

TASK_RETRIES = 2
RETRY_DELAYS = [20.0, 60.0]  # seconds, plus up to 50% jitter


def is_retriable(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return True if the task may succeed later: a temporary failure of the source or the store."""
    return isinstance(state.data, RetriableError)


TASK_RETRY: dict[str, Any] = {
    "retries": TASK_RETRIES,
    "retry_delay_seconds": RETRY_DELAYS,
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_retriable,
    "cache_policy": NO_CACHE,  # the ledger knows what has landed
    "persist_result": False,
}


async def result_of(future: PrefectFuture[Coroutine[Any, Any, R]]) -> R:
    """Await a task's result without blocking the flow's event loop. Raises what the task raised."""
    async for done in as_they_complete([future]):
        return cast(R, done.result())  # Prefect types the future of an async task by its coroutine
    raise AssertionError("a future completes once")
