"""The flow runs that a fan-out starts in other workers: each once, whichever attempt of it that is."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
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
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from flows.runtime.progress import shard_listener
from sku_velocity.errors import ConfigurationError
from sku_velocity.steps.fan_out import Shard

POLL = 2.0  # seconds between two looks at the children: one request for all of them
PATIENCE = 60.0  # seconds without a child that runs, and then between two warnings
LIMIT = 200  # flow runs in an answer of the Prefect API
DELETED = None  # in place of a flow run that is not there any more
NOT_TAKEN = (StateType.SCHEDULED, StateType.PENDING)
Runs = dict[Shard, FlowRun | None]


async def find_deployment(api: PrefectClient, name: str) -> DeploymentResponse:
    """The deployment that children are started by. Raises ConfigurationError where there is none."""
    try:
        return await api.read_deployment_by_name(name)
    except (ObjectNotFound, ValueError) as error:
        raise ConfigurationError(
            f"deployment: the Prefect API has no deployment {name}: `prefect --no-prompt deploy --all` makes "
            "those of prefect.yaml"
        ) from error


class ChildRuns:
    """The runs of one fan-out, by a deployment of sync-velocity. `parameters` are the same for all of them.

    Each is known by a key, made of the parent's id and of what it reads, so that a parent which is run again
    finds those that it began: it leaves alone what is completed, waits for what is under way, and has what
    has failed, crashed or was cancelled run again, as the same flow run. One that was deleted begins anew.
    """

    def __init__(
        self, api: PrefectClient, deployment: DeploymentResponse, parent: UUID, parameters: Mapping[str, Any]
    ) -> None:
        self._api = api
        self._deployment = deployment
        self._parent = parent
        self._parameters = parameters
        self._logger = get_run_logger()
        self._running_at = time.monotonic()

    async def warehouses(self) -> list[str]:
        """Those that an earlier attempt has begun with, in its order."""
        of_parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[self._parent]))
        found: list[FlowRun] = []
        while len(found) % LIMIT == 0:
            more = await self._api.read_flow_runs(
                flow_run_filter=of_parent,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=LIMIT,
                offset=len(found),
            )
            if not more:
                break
            found += more
        return list(dict.fromkeys(run.parameters["warehouse"] for run in found))

    async def run(self, shards: Sequence[Shard], max_parallel: int) -> Runs:
        """Have all of them run to an end, so many at a time, started in their order.

        While the Prefect API is away it waits. Raises ConfigurationError where the deployment refuses the
        parameters.
        """
        waiting, runs = deque(shards), Runs()
        while True:
            try:
                while waiting and len(_under_way(runs)) < max_parallel:
                    runs[waiting[0]] = await self._start(waiting[0])
                    waiting.popleft()
                await self._look(runs, _under_way(runs))
                if not waiting and not _under_way(runs):
                    await self._look(runs, runs)  # somebody may have had one run again by hand
                    if not _under_way(runs):
                        return runs
            except httpx.TransportError as error:
                self._logger.warning("The Prefect API is away, waiting: %s", error or type(error).__name__)
            self._warn_about_waiting(_under_way(runs).values())
            await asyncio.sleep(POLL)

    async def _start(self, shard: Shard) -> FlowRun:
        """The shard's run: begun, found, or sent on its way again.

        Always in the shards' order, by which Prefect knows again where in the parent's tree a run stands.
        """
        try:
            run = await arun_deployment(
                f"sync-velocity/{self._deployment.name}",
                client=self._api,
                parameters={**self._parameters, **_place(shard)},
                timeout=0,
                flow_run_name=str(shard),  # until it starts
                idempotency_key=shard.key(self._parent),
                as_subflow=True,
            )
        except httpx.HTTPStatusError as error:
            if error.response.is_server_error:
                raise httpx.TransportError(str(error)) from error
            raise ConfigurationError(
                f"deployment {self._deployment.name}: the Prefect API refuses the run of {shard}: "
                f"{error.response.text}"
            ) from error
        if run.state is None or not run.state.is_final() or run.state.is_completed():
            return run
        self._logger.info("%s ended %s: it goes on from where it stands", shard, run.state.name)
        await self._api.set_flow_run_state(run.id, AwaitingRetry(), force=True)
        return await self._api.read_flow_run(run.id)

    async def _look(self, runs: Runs, shards: Iterable[Shard]) -> None:
        """Bring these shards' runs up to date."""
        places = {run.id: shard for shard in shards if (run := runs[shard])}
        ids = list(places)
        for first in range(0, len(ids), LIMIT):
            asked = ids[first : first + LIMIT]
            told = FlowRunFilter(id=FlowRunFilterId(any_=asked))
            found = {run.id: run for run in await self._api.read_flow_runs(flow_run_filter=told, limit=LIMIT)}
            for run_id in asked:
                shard, run = places[run_id], found.get(run_id, DELETED)
                if _has_ended(run) and not _has_ended(runs[shard]):
                    shard_listener.get()(shard, run)
                runs[shard] = run

    def _warn_about_waiting(self, under_way: Iterable[FlowRun]) -> None:
        """Warn where children wait and none has run for a while."""
        now, states = time.monotonic(), [run.state for run in under_way if run.state]
        if not states or not all(state.type in NOT_TAKEN for state in states):
            self._running_at = now
        elif now >= self._running_at + PATIENCE:
            self._running_at = now
            names = ", ".join(sorted({state.name or state.type.value for state in states}))
            self._logger.warning(
                "%d runs wait (%s), and none has run for %d s: see that a worker of the pool %s is up, with "
                "room beside this run (--limit), and that no concurrency limit of the pool, its queue or the "
                "deployment %s is spent",
                len(states),
                names,
                PATIENCE,
                self._deployment.work_pool_name,
                self._deployment.name,
            )


def _place(shard: Shard) -> dict[str, Any]:
    """The parameters that are the shard's own. One of everything has no bounds."""
    bounds = (None, None) if shard.window.is_everything else (shard.window.start, shard.window.end)
    start, end = (bound and bound.isoformat() for bound in bounds)
    return {"warehouse": shard.warehouse, "start": start, "end": end}


def _under_way(runs: Runs) -> dict[Shard, FlowRun]:
    return {shard: run for shard, run in runs.items() if run and not _has_ended(run)}


def _has_ended(run: FlowRun | None) -> bool:
    return run is DELETED or (run.state is not None and run.state.is_final())
