"""Where the commands run: in this process, or with Prefect, which `python -m flows` sets."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeVar

from sku_velocity.steps.display import Listener
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import Request
from sku_velocity.steps.run_context import Operation, RunContext
from sku_velocity.store import Store

Q = TypeVar("Q", bound=Request)
T = TypeVar("T")
R = TypeVar("R")


class Stopped(BaseException):
    """The program was asked to stop by a signal, such as SIGTERM on shutdown."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Executor:
    """Runs operations in this process. Sources and engines are files, a store is a URL."""

    # How to retry without Prefect's button, in place of its words.
    retry_words: Mapping[str, str] = MappingProxyType(
        {"Retry, or the same backfill,": "the same backfill", "A Retry": "--resume", "Retry": "--resume"}
    )
    hint: str | None = "To see runs in Prefect's UI, run the same command as `python -m flows`."

    def context(self, listener: Listener | None = None) -> RunContext:
        """Return a context that finds sources, stores and engines as this executor does."""
        return RunContext(listener=listener)

    async def execute(self, operation: Operation[Q, T], request: Q, listener: Listener) -> Outcome[T]:
        """Run an operation. Raises what it raises."""
        context = self.context(listener)
        async with context.opened():
            return await operation(context, request)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine. SIGTERM cancels it, as Ctrl-C does, and raises Stopped once it has cleaned up."""
        is_stopped = False

        async def main() -> T:
            task = asyncio.current_task()
            assert task is not None

            def stop() -> None:
                nonlocal is_stopped
                is_stopped = True
                task.cancel()

            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
            return await work

        try:
            return asyncio.run(main())
        except asyncio.CancelledError:
            if is_stopped:
                raise Stopped(signal.SIGTERM) from None
            raise

    def show_log(self, is_verbose: bool) -> None:
        """Show the log on the terminal, or keep it off."""
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("sku_velocity").setLevel(logging.INFO if is_verbose else logging.CRITICAL)


executor: ContextVar[Executor] = ContextVar("executor")


def current() -> Executor:
    """Return the executor that is set, or else this process."""
    return executor.get(None) or Executor()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as the executor in use does. Raises KeyboardInterrupt or Stopped if it is stopped."""
    return current().run(work)


def on_store(name: str | None, ask: Callable[[Store], Awaitable[R]]) -> R:
    """Open the store of this name, and return what a function returns for it."""

    current().show_log(False)

    async def ask_it() -> R:
        context = current().context()
        async with (await context.find_store(name)).get_store() as store:
            return await ask(store)

    return run(ask_it())
