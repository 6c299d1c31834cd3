"""The executor of a run's steps in Prefect: each is a task run, and a run within it is a subflow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, wraps
from inspect import Parameter, Signature, cleandoc
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, get_type_hints

from prefect import runtime, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from blocks.run_log import run_logger
from blocks.slotting import find_engine
from blocks.store import find_store
from blocks.wms import find_source
from flows.artifacts.display import PrefectDisplay
from flows.runtime.old_artifacts import prune_artifacts
from flows.runtime.ownership import our_runs
from flows.runtime.prefect_internals import is_outer_run
from flows.runtime.task_runner import as_they_complete
from sku_velocity.errors import RetriableError, VelocityError
from sku_velocity.steps.access import EngineAccess, Log, SourceAccess, StoreAccess
from sku_velocity.steps.display import Listener
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import TASK_RETRIES, Request
from sku_velocity.steps.run_context import RETRY_DELAYS, Operation, RunContext, Step, step

P = ParamSpec("P")
Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
T = TypeVar("T")
FlowCall = Callable[..., Any]

# The listener of the command that calls a flow: Prefect passes a flow only what it can store.
listener: ContextVar[Listener] = ContextVar("listener")


class PrefectContext(RunContext):
    """The context of a flow run. `flows` are the flows that run an operation within it."""

    program = "python -m flows"
    source_suffix = ""

    def __init__(self, flows: Mapping[Operation[Any, Any], FlowCall] | None = None) -> None:
        super().__init__(listener=listener.get(None), display=PrefectDisplay())
        self._flows = flows or {}

    @property
    def log(self) -> Log:
        return run_logger("sku_velocity")

    @property
    def due(self) -> datetime:
        due = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
        return datetime.fromtimestamp(due.timestamp(), UTC)  # Prefect's, a pendulum, loses a UTC zone in sums

    @property
    def flow_run_id(self) -> str | None:
        return runtime.flow_run.id and str(runtime.flow_run.id)

    @property
    def user(self) -> str:
        return f"flow run {runtime.flow_run.name} ({runtime.flow_run.id})"

    @property
    def shares_nothing(self) -> bool:
        return True

    @property
    def attempt(self) -> int:
        return int(runtime.task_run.run_count)

    async def find_source(self, name: str, token_env: str | None) -> SourceAccess:
        return await find_source(name, token_env)

    async def find_store(self, name: str | None) -> StoreAccess:
        return await find_store(name)

    async def find_engine(self, name: str) -> EngineAccess:
        return await find_engine(name)

    async def perform(
        self, step: Step[Concatenate[RunContext, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if self.is_inline:
            return await super().perform(step, *args, **kwargs)
        future = self._task(step).submit(quote(self), *map(quote, args), **kwargs)
        async for done in as_they_complete([future]):
            result = await _result_of(done)
            if isinstance(result, BaseException):
                raise result
            return cast(R, result)
        raise AssertionError("a future completes once")

    async def perform_each(
        self, step: Step[Concatenate[RunContext, P], R], calls: Iterable[tuple[object, ...]]
    ) -> AsyncGenerator[R | BaseException, None]:
        if self.is_inline:
            async for result in super().perform_each(step, calls):
                yield result
            return
        columns = [[quote(each) for each in column] for column in zip(*calls, strict=True)]
        if columns:
            async for done in as_they_complete(self._task(step).map(unmapped(quote(self)), *columns)):
                yield await _result_of(done)

    def _task(self, step: Step[Any, Any]) -> Task[..., Any]:
        return task_of(step).with_options(retries=self.retries if step.is_retried else 0)

    async def run(self, operation: Operation[Q, T], request: Q) -> Outcome[T]:
        with our_runs():
            return await run_flow(self._flows[operation], request)

    async def show_late(self, warehouses: Collection[str] | None) -> None:
        """Show which of these warehouses, by default all of the source, are late.

        A run that is a part of another one leaves that to it.
        """
        if not is_outer_run() or not (hasattr(self, "source") and hasattr(self, "store_access")):
            return
        now = datetime.now(UTC)
        try:
            async with self.store() as store:
                found = await store.status.freshness(self.source.spec.name, warehouses)
        except VelocityError as error:
            self.log.warning("Not checked whether warehouses are late: %s", error)
            return
        if late := [each for each in found if each.is_late(now)]:
            await self.display.show_late(late, now)

    async def prune_artifacts(self, ended_before: datetime, dry_run: bool) -> int | None:
        return await self.perform(prune_old_artifacts, ended_before, dry_run)


@step("prune artifacts")
async def prune_old_artifacts(context: RunContext, ended_before: datetime, dry_run: bool) -> int:
    """Delete the artifacts of runs that ended before an instant, or count them."""
    async with get_client() as client:
        return await prune_artifacts(client, ended_before, dry_run=dry_run)


async def _result_of(future: PrefectFuture[Any]) -> Any:
    """Return what a task returned or raised."""
    return await future.state.aresult(raise_on_failure=False)


@cache
def task_of(step: Step[Any, Any]) -> Task[..., Any]:
    """Return the task that executes a step. A failed outcome is a failed state in the UI."""

    @wraps(step.function)
    async def execute(*args: Any, **kwargs: Any) -> Any:
        result = await step.function(*args, **kwargs)
        return state_of(result, result) if isinstance(result, Outcome) else result

    make = task(
        task_run_name=step.name,
        retries=TASK_RETRIES,
        retry_delay_seconds=list(RETRY_DELAYS),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_retriable,
        cache_policy=NO_CACHE,  # the ledger knows what has landed
        persist_result=False,
    )
    return make(execute)


def is_retriable(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return True if the task may succeed later: a temporary failure of the source or the store."""
    return isinstance(state.data, RetriableError)


def state_of(outcome: Outcome[Any], data: object) -> State[Any]:
    """Return an outcome as the final state of a run."""
    make = Failed if outcome.is_failed else Completed
    return make(name=outcome.name, message=outcome.message, data=data)


def takes(request_type: type[Q]) -> Callable[[Callable[[Q], Awaitable[T]]], Callable[..., Awaitable[T]]]:
    """Give a function of a request the parameters and descriptions of its fields, for the form in the UI."""

    def decorate(function: Callable[[Q], Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def call(**parameters: Any) -> T:
            return await function(request_type(**parameters))

        call.__name__, call.__qualname__, call.__module__ = (
            function.__name__,
            function.__qualname__,
            function.__module__,
        )
        call.__doc__ = _docstring_of(request_type)
        call.__signature__ = _signature_of(request_type)  # type: ignore[attr-defined]
        return call

    return decorate


async def perform(
    operation: Operation[Q, T], request: Q, flows: Mapping[Operation[Any, Any], FlowCall] | None = None
) -> State[T]:
    """Perform an operation as this flow run, and return its final state."""
    context = PrefectContext(flows)
    given = request.parameters()
    warehouses = [given["warehouse"]] if given.get("warehouse") else given.get("warehouses") or None
    try:
        outcome = await operation(context, request)
    except Exception:
        await context.show_late(warehouses)
        raise
    await context.show_late(warehouses)
    return state_of(outcome, outcome.report)


async def run_flow(flow: FlowCall, request: Request) -> Outcome[Any]:
    """Run a flow to its end in this process. Raises what it raised."""
    state: State[Any] = await flow(**request.parameters(), return_state=True)
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    if result is None:
        raise RuntimeError(f"the flow ended as {state.name}: {state.message}")
    return Outcome(state.name or "", state.message or "", result, state.is_failed())


def _signature_of(request_type: type[Request]) -> Signature:
    hints = get_type_hints(request_type, include_extras=True)
    return Signature(
        [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if field.is_required() else field.default,
                annotation=hints[name],
            )
            for name, field in request_type.model_fields.items()
        ]
    )


def _docstring_of(request_type: type[Request]) -> str:
    fields = request_type.model_fields.items()
    arguments = "\n".join(f"    {name}: {_one_line(field.description)}" for name, field in fields)
    return f"{cleandoc(request_type.__doc__ or '')}\n\nArgs:\n{arguments}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
