"""The command line with Prefect: `python -m flows`.

The same commands as `sku-velocity`, run as flows of the Prefect server in use, and those that need one. Each
flow is imported when it is used.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Coroutine, Mapping
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any, TypeVar

import httpx
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL

from flows.cli import add_commands
from flows.runtime.ownership import our_runs
from flows.runtime.prefect_context import PrefectContext, listener, run_flow
from flows.runtime.prefect_internals import silence_prefect
from sku_velocity.cli.app import execute, make_app
from sku_velocity.cli.executor import Executor, Stopped, executor
from sku_velocity.errors import VelocityError
from sku_velocity.steps.access import STORE_VARIABLE, StoreAccess
from sku_velocity.steps.display import Listener
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import Request
from sku_velocity.steps.run_context import Operation
from sku_velocity.steps.sync import check_export
from sku_velocity.store.database import holds_password

Q = TypeVar("Q", bound=Request)
T = TypeVar("T")

# The flow of each operation, by its function's name.
FLOWS = {
    "sync": "flows.sync_velocity:sync_velocity",
    "sync_master": "flows.sync_sku_master:sync_sku_master",
    "backfill": "flows.backfill:backfill",
    "replay": "flows.replay_dead_letters:replay_dead_letters",
    "recheck": "flows.recheck:recheck",
    "refresh_velocity": "flows.refresh_velocity:refresh_velocity",
    "compact": "flows.compact:compact",
    "prune": "flows.prune:prune",
    "sync_group": "flows.sync_group:sync_group",
    "fan_out": "flows.sync_warehouses:sync_warehouses",
}


class PrefectExecutor(Executor):
    """Runs operations as flow runs, in this process. Sources, stores and engines may be blocks."""

    hint = None
    retry_words: Mapping[str, str] = MappingProxyType({})

    def context(self, listener: Listener | None = None) -> PrefectContext:
        return _CommandContext()

    async def execute(self, operation: Operation[Q, T], request: Q, listens: Listener) -> Outcome[T]:
        listener.set(listens)
        return await run_flow(resolve_name(FLOWS[operation.__name__]), as_stored(request))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        lost: list[TerminationSignal] = []

        async def main() -> T:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None

            def catch(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
                # Prefect raises it wherever this thread is. The loop only logs what a callback raises.
                error = context.get("exception")
                if isinstance(error, TerminationSignal):
                    lost.append(error)
                    task.cancel()
                else:
                    loop.default_exception_handler(context)

            loop.set_exception_handler(catch)
            return await work

        try:
            return asyncio.run(main())
        except (TerminationSignal, asyncio.CancelledError) as stop:
            if isinstance(stop, TerminationSignal):
                lost.append(stop)
            if not lost:
                raise
            raise Stopped(lost[0].signal) from stop
        except httpx.TransportError as error:  # only Prefect's: the source's are wrapped, the store has none
            raise VelocityError(f"the Prefect API at {PREFECT_API_URL.value()}: {error}") from error

    def show_log(self, is_verbose: bool) -> None:
        if not is_verbose:
            silence_prefect()


class _CommandContext(PrefectContext):
    """Finds what a command names, outside a flow run. The URL of its store may have a password."""

    async def find_store(self, name: str | None) -> StoreAccess:
        return await super().find_store(_move_password_to_environment(name))


def as_stored(request: Q) -> Q:
    """Return a request of a user as flow parameters, without secrets: Prefect stores them in plain text.

    Raises ConfigurationError for an export to a URL with credentials.
    """
    given = request.parameters()
    changed: dict[str, Any] = {}
    check_export(given.get("export_to"))
    if "store" in given:
        changed["store"] = _move_password_to_environment(given["store"])
    if "by" in given:
        changed["by"] = given["by"] or getpass.getuser()
    return request.model_copy(update=changed)


def _move_password_to_environment(store: str | None) -> str | None:
    """Return the store as a flow parameter; a URL with a password goes into the environment instead."""
    if store and "://" in store and holds_password(store):
        os.environ[STORE_VARIABLE] = store
        return None
    return store


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code. Print an error as one line on standard error."""
    app = make_app("python -m flows")
    add_commands(app)
    token = executor.set(PrefectExecutor())
    try:
        with our_runs():
            return execute(app, arguments)
    finally:
        executor.reset(token)
