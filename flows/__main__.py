"""The one door for people and cron: `python -m flows`, from the root of the checkout."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
from cyclopts import App, CycloptsError, Parameter
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from blocks.shared_pace import create_shared_limit
from blocks.store import STORE_VARIABLE, VelocityStore, find_store
from blocks.wms import WmsSource, find_source
from flows.artifacts import progress_listener
from flows.check_source import SourceCheck, print_check
from flows.check_source import check_source as try_source
from flows.sync_velocity import CHUNK_RETRIES, MAX_REJECT_RATIO, choose_window, sync_velocity
from sku_velocity.errors import ConfigurationError
from sku_velocity.models import RunReport
from sku_velocity.source.presets import preset_names
from sku_velocity.store import migrate
from sku_velocity.store.engine import holds_password

PUBLISHED, NOT_PUBLISHED, WRONG_USAGE = 0, 1, 2
RECORD_COUNTS = ("fetched", "loaded", "rejected", "trimmed", "filtered")
COSTS = ("chunks", "requests", "retried", "throttled", "seconds")
HELD = {True: "held", False: "BROKEN", None: "-"}

errors = Console(stderr=True)
app = App(
    name="python -m flows",
    help="Read SKU movements from a WMS or ERP window by window, prove each whole, publish it.",
    console=Console(),
    error_console=errors,
    result_action="return_value",
)


@app.command
def sync(
    *,
    source: str,
    warehouse: str,
    token_env: str | None = None,
    store: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    chunk_retries: int = CHUNK_RETRIES,
    resume: str | None = None,
    max_reject_ratio: float = MAX_REJECT_RATIO,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read one window of one warehouse, prove it whole and publish it.

    Ends with 0 where it was published, 1 where it was not, 2 on bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml).
    warehouse
        The warehouse, as the API names it.
    token_env
        The environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    start
        The window's start in ISO 8601 with its zone. Default: an hour before its end.
    end
        The window's end, not in it. Default: the last whole hour that has settled.
    chunk_retries
        How often a task is run again whose other side was away.
    resume
        The id of an earlier run: read only what it has not landed.
    max_reject_ratio
        Publish nothing where a larger share of the records is rejected.
    report_as_json
        Print the report as JSON, in the last line of standard output.
    verbose
        Show Prefect's log as well.
    """
    if not verbose:
        _silence_prefect()
    request = {
        "source": source,
        "warehouse": warehouse,
        "token_env": token_env,
        "store": _without_password(store),  # Prefect keeps parameters in clear
        "start": start,
        "end": end,
        "chunk_retries": chunk_retries,
        "resume": resume,
        "max_reject_ratio": max_reject_ratio,
    }
    with _progress_bar(warehouse):
        outcome = asyncio.run(_sync(request))
    if isinstance(outcome, RunReport):
        print(outcome.model_dump_json()) if report_as_json else _print_report(outcome)
        return PUBLISHED if outcome.published else NOT_PUBLISHED
    if report_as_json:
        print(json.dumps({"verdict": "failed", "published": False, "error": str(outcome)}))
    raise outcome


@app.command
def check_source(
    *,
    source: str,
    warehouse: str,
    token_env: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> int:
    """Read one page of a source, and show what each field comes to, and what would make reading it surer.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml).
    warehouse
        The warehouse, as the API names it.
    token_env
        The environment variable that holds the source's token.
    start
        The window's start in ISO 8601 with its zone. Default: an hour before its end.
    end
        The window's end, not in it. Default: the last whole hour that has settled.
    """

    async def run() -> SourceCheck:
        block = await find_source(source, token_env)
        return await try_source(
            block, warehouse, choose_window(block.spec, start, end, timedelta(minutes=10))
        )

    print_check(asyncio.run(run()), Console())
    return 0


@app.command
def presets() -> int:
    """List the systems whose description a spec file can start from (`preset: NAME`)."""
    print("\n".join(preset_names()))
    return 0


@app.command
def save_source(name: str, *, spec: Path, token_env: str | None = None) -> int:
    """Store a source as a wms-source block, for deployments to name, and make the limit it shares.

    Parameters
    ----------
    name
        The block's name: lower case, digits and dashes.
    spec
        The path of a spec file (.yaml).
    token_env
        The environment variable that holds the source's token.
    """

    async def run() -> WmsSource:
        block = await find_source(str(spec), token_env)
        if block.spec.pace.shared_limit:
            await create_shared_limit(block.spec.pace)
        return block

    return _save(run(), name)


@app.command
def save_store(name: str, *, url_env: str = STORE_VARIABLE) -> int:
    """Store a database's address as a velocity-store block, for deployments to name.

    Parameters
    ----------
    name
        The block's name: lower case, digits and dashes.
    url_env
        The environment variable that holds the address, such as postgresql://user:password@host/database.
    """
    if url_env not in os.environ:
        raise ConfigurationError(f"the environment variable {url_env} is not set")
    return _save(find_store(None, url_env), name)


@app.command(name="migrate")
def migrate_store(*, store: str | None = None) -> int:
    """Bring a store's schema up to date.

    Parameters
    ----------
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    """

    async def run() -> str:
        return await migrate((await find_store(_without_password(store))).url.get_secret_value())

    print(f"schema version {asyncio.run(run())}")
    return 0


def _save(block: Coroutine[Any, Any, WmsSource | VelocityStore], name: str) -> int:
    async def run() -> None:
        try:
            await (await block).asave(name, overwrite=True)
        except ValidationError as error:
            raise ConfigurationError(f"{name} is no name for a block: {_reason(error)}") from error

    _silence_prefect()
    asyncio.run(run())
    print(f"saved {name}")
    return 0


def _reason(error: ValidationError) -> str:
    return "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())


def _without_password(store: str | None) -> str | None:
    """A store that can stand in a parameter: a URL with a password goes by the environment instead."""
    if store and "://" in store and holds_password(store):
        os.environ[STORE_VARIABLE] = store
        return None
    return store


async def _sync(request: dict[str, Any]) -> RunReport | BaseException:
    state: State[Any] = await sync_velocity(**request, return_state=True)
    outcome = await state.aresult(raise_on_failure=False)
    if isinstance(outcome, RunReport | BaseException):
        return outcome
    return RuntimeError(f"the flow ended {state.name}: {state.message}")


@contextmanager
def _progress_bar(warehouse: str) -> Iterator[None]:
    """A bar of chunks landed, on a terminal; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:
        chunks = bar.add_task(warehouse, total=None)
        token = progress_listener.set(lambda done, total: bar.update(chunks, completed=done, total=total))
        yield
        progress_listener.reset(token)


def _print_report(report: RunReport) -> None:
    console = Console()
    console.print(f"{report.warehouse} from {report.source}: {report.verdict}", style="bold", markup=False)
    for names in (RECORD_COUNTS, COSTS):
        table = Table()
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row(*(str(getattr(report, name)) for name in names))
        console.print(table)
    for check in report.checks:
        console.print(f"{HELD[check.held]:6}  {check.name}: {check.found}", markup=False)
    console.print(f"run {report.flow_run_id}", markup=False, highlight=False)


def _silence_prefect() -> None:
    """Keep the log off the terminal; the Prefect API still gets it."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs", ""):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Gives its exit code; says what is wrong on one line of standard error."""
    try:
        return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except (CycloptsError, ConfigurationError, ParameterTypeError) as error:
        return _fail(str(error), WRONG_USAGE)
    except httpx.TransportError as error:  # the source's are all explained, and the store has none
        return _fail(f"the Prefect API at {PREFECT_API_URL.value()}: {error}", NOT_PUBLISHED)
    except Exception as error:  # the last line of defence: cron reads one line, not a traceback
        return _fail(f"{type(error).__name__}: {error}", NOT_PUBLISHED)


def _fail(reason: str, exit_code: int) -> int:
    errors.print(f"error: {' '.join(reason.split())}", markup=False, highlight=False, soft_wrap=True)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
