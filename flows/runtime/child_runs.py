"""The flow runs that a fan-out starts in other workers: each exactly once, across all attempts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from flows.runtime.ownership import HEARTBEAT_ENVIRONMENT, SYNC_GROUP, TAG
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.steps.fan_out import Group

POLL_INTERVAL = 2.0  # seconds; each poll reads all children in one request
WARNING_INTERVAL = 60.0  # seconds without a running child, then between two warnings
PAGE_LIMIT = 200  # flow runs in a response of the Prefect API
DELETED = None  # in place of a flow run that no longer exists
NOT_STARTED = (StateType.SCHEDULED, StateType.PENDING)
Runs = dict[Group, FlowRun | None]


async def find_deployment(api: PrefectClient, name: str) -> DeploymentResponse:
    """Return the deployment that starts the children. Raises ConfigurationError if it does not exist."""
    try:
        return await api.read_deployment_by_name(name)
    except (ObjectNotFound, ValueError) as error:
        raise ConfigurationError(
            f"deployment: the Prefect API has no deployment {name}: create those of prefect.yaml with "
            "`prefect --no-prompt deploy --all`"
        ) from error


class ChildRuns:
    """The runs of one fan-out, by a deployment of sync-group. All of them share `parameters`.

    `ended` is called with each that ends, and with None for one that was deleted.

    Each has an idempotency key made of the parent's id and of what it reads, so a parent that is retried
    finds its runs again: it keeps completed ones, waits for unfinished ones, and retries failed, crashed and
    cancelled ones as the same flow run. A deleted run is replaced by a new one.
    """

    def __init__(
        self,
        api: PrefectClient,
        deployment: DeploymentResponse,
        parent: UUID,
        parameters: Mapping[str, Any],
        ended: Callable[[Group, FlowRun | None], object],
    ) -> None:
        self._api = api
        self._deployment = deployment
        self._parent = parent
        self._parameters = parameters
        self._ended = ended
        self._logger = get_run_logger()
        self._last_running = time.monotonic()

    async def started(self) -> list[Group]:
        """Return the groups whose runs an earlier attempt has started, in its order."""
        of_parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[self._parent]))
        found: list[FlowRun] = []
        while len(found) % PAGE_LIMIT == 0:
            more = await self._api.read_flow_runs(
                flow_run_filter=of_parent,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=PAGE_LIMIT,
                offset=len(found),
            )
            if not more:
                break
            found += more
        return list(dict.fromkeys(map(_group_of, found)))

    async def run(self, groups: Sequence[Group], max_parallel: int) -> Runs:
        """Run all groups to a final state, at most `max_parallel` at a time, started in their order.

        Waits while the Prefect API is unavailable. Raises ConfigurationError if the deployment rejects the
        parameters.
        """
        waiting, runs = deque(groups), Runs()
        while True:
            try:
                while waiting and len(_unfinished(runs)) < max_parallel:
                    runs[waiting[0]] = await self._start(waiting[0])
                    waiting.popleft()
                await self._refresh(runs, _unfinished(runs))
                if not waiting and not _unfinished(runs):
                    await self._refresh(runs, runs)  # a user may have retried one by hand
                    if not _unfinished(runs):
                        return runs
            except httpx.TransportError as error:
                self._logger.warning(
                    "The Prefect API is unavailable, trying again: %s", error or type(error).__name__
                )
            self._warn_about_waiting(_unfinished(runs).values())
            await asyncio.sleep(POLL_INTERVAL)

    async def _start(self, group: Group) -> FlowRun:
        """Return the group's run: started, found, or retried.

        Always in the groups' order, from which Prefect derives a run's place in the parent's tree.
        """
        try:
            run = await arun_deployment(
                f"{SYNC_GROUP}/{self._deployment.name}",
                client=self._api,
                parameters={**self._parameters, **_group_parameters(group)},
                timeout=0,
                flow_run_name=str(group),  # until it starts
                tags=[TAG],
                job_variables={"env": HEARTBEAT_ENVIRONMENT},
                idempotency_key=group.key(self._parent),
                as_subflow=True,
            )
        except httpx.HTTPStatusError as error:
            if error.response.is_server_error:
                raise httpx.TransportError(str(error)) from error
            raise ConfigurationError(
                f"deployment {self._deployment.name}: the Prefect API rejected the run of {group}: "
                f"{error.response.text}"
            ) from error
        if run.state is None or not run.state.is_final() or run.state.is_completed():
            return run
        self._logger.info("%s ended %s: resuming it", group, run.state.name)
        await self._api.set_flow_run_state(run.id, AwaitingRetry(), force=True)
        return await self._api.read_flow_run(run.id)

    async def _refresh(self, runs: Runs, groups: Iterable[Group]) -> None:
        """Read the current state of these groups' runs."""
        group_of = {run.id: group for group in groups if (run := runs[group])}
        ids = list(group_of)
        for first in range(0, len(ids), PAGE_LIMIT):
            some = ids[first : first + PAGE_LIMIT]
            by_id = FlowRunFilter(id=FlowRunFilterId(any_=some))
            read = await self._api.read_flow_runs(flow_run_filter=by_id, limit=PAGE_LIMIT)
            found = {run.id: run for run in read}
            for run_id in some:
                group, run = group_of[run_id], found.get(run_id, DELETED)
                if _has_ended(run) and not _has_ended(runs[group]):
                    self._ended(group, run)
                runs[group] = run

    def _warn_about_waiting(self, unfinished: Iterable[FlowRun]) -> None:
        """Warn if children are waiting and none has run for a while."""
        now, states = time.monotonic(), [run.state for run in unfinished if run.state]
        if not states or not all(state.type in NOT_STARTED for state in states):
            self._last_running = now
        elif now >= self._last_running + WARNING_INTERVAL:
            self._last_running = now
            names = ", ".join(sorted({state.name or state.type.value for state in states}))
            self._logger.warning(
                "%d runs are waiting (%s) and none has run for %d s: check that a worker of the pool %s is "
                "up with room beside this run (--limit), and that no concurrency limit of the pool, its "
                "queue or the deployment %s is exhausted",
                len(states),
                names,
                WARNING_INTERVAL,
                self._deployment.work_pool_name,
                self._deployment.name,
            )


def _group_parameters(group: Group) -> dict[str, Any]:
    """Return the group's own parameters. A window of everything has no bounds."""
    start, end = (bound and bound.isoformat() for bound in group.window.bounds)
    return {"warehouses": list(group.warehouses), "start": start, "end": end}


def _group_of(run: FlowRun) -> Group:
    """Return the group that a run reads, by its parameters."""
    start, end = (text and datetime.fromisoformat(text) for text in map(run.parameters.get, ("start", "end")))
    window = Window.between(start, end) if start or end else Window.everything()
    return Group(tuple(run.parameters["warehouses"]), window)


def _unfinished(runs: Runs) -> dict[Group, FlowRun]:
    return {group: run for group, run in runs.items() if run and not _has_ended(run)}


def _has_ended(run: FlowRun | None) -> bool:
    return run is DELETED or (run.state is not None and run.state.is_final())
