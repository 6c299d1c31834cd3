"""The one door for people and cron: `python -m flows`, from the root of the checkout."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
from cyclopts import App, CycloptsError, Parameter
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError
from rich.console import Console

from blocks.shared_pace import create_shared_limit
from blocks.slotting import ENGINE_TOKEN_VARIABLE, SlottingEngine, find_engine
from blocks.store import STORE_VARIABLE, VelocityStore, find_store
from blocks.wms import WmsSource, find_source
from flows.cli.backfill import backfill
from flows.cli.check_source import SourceCheck, print_check
from flows.cli.check_source import check_source as try_source
from flows.cli.dead_letters import app as dead_letters
from flows.cli.prune import prune
from flows.cli.replay import replay
from flows.cli.status import status
from flows.cli.sync_master import sync_master
from flows.cli.sync_warehouses import sync_many
from flows.cli.terminal import (
    NOT_PUBLISHED,
    STOPS,
    WRONG_USAGE,
    errors,
    move_password_to_environment,
    run_and_report,
    signal_of,
    silence_prefect,
    stop_message,
)
from flows.runtime.retries import TASK_RETRIES
from flows.runtime.shutdown import flush_and_exit
from flows.sync_velocity import sync_velocity
from flows.tasks.window import MAX_REJECT_RATIO, choose_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import NO_WAREHOUSE, UnknownSku
from sku_velocity.source.presets import preset_names
from sku_velocity.steps.export import Destination
from sku_velocity.store import migrate
from sku_velocity.text import printable

B = TypeVar("B", WmsSource, SlottingEngine)

app = App(
    name="python -m flows",
    help="Read SKU movements from a WMS or ERP window by window, prove each whole, publish it.",
    console=Console(),
    error_console=errors,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(sync_master)
app.command(status)
app.command(backfill)
app.command(sync_many, name="sync-warehouses")
app.command(dead_letters)
app.command(replay)
app.command(prune)
app.command(
    "flows.cli.refresh_velocity:refresh",  # imported where it is asked for: the others need no pandas
    name="refresh-velocity",
    help="""Work out velocity and its ABC and XYZ classes from what is published, and write the reports.

    Ends with 0 where all warehouses were refreshed, 1 where one was not, 2 on bad usage or configuration.""",
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
    task_retries: int = TASK_RETRIES,
    resume: str | None = None,
    max_reject_ratio: float = MAX_REJECT_RATIO,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
    export_to: str | None = None,
    push: str | None = None,
    velocity_zone: str | None = None,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read one window of one warehouse, prove it whole and publish it; push it, where asked to.

    Ends with 0 where it was published (and pushed), 1 where it was not, 2 on bad usage or configuration,
    130 or 143 where SIGINT or SIGTERM stopped it.

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
    task_retries
        How often a task is run again whose other side was away.
    resume
        The id of an earlier run: read only what it has not landed.
    max_reject_ratio
        Publish nothing where a larger share of the records is rejected.
    master
        The name of the master's source, by whose published items SKUs are mapped. Default: none.
    unknown_sku
        What becomes of a movement whose SKU the master does not know, or has retired.
    export_to
        A directory or a URL such as s3://bucket/path, for the window as Parquet. Default: none.
    push
        A slotting-engine block's name, or the path of an engine's file (.yaml), whose token is in
        $SKU_VELOCITY_ENGINE_TOKEN. Default: none.
    velocity_zone
        The warehouse's time zone, such as Europe/Berlin: once the window is published, its velocity is
        worked out anew. Default: it is not.
    report_as_json
        Print the report as JSON, in the last line of standard output.
    verbose
        Show Prefect's log as well.
    """
    if not verbose:
        silence_prefect()
    if export_to:
        Destination(export_to)  # before Prefect keeps it
    request = {
        "source": source,
        "warehouse": warehouse,
        "token_env": token_env,
        "store": move_password_to_environment(store),  # Prefect keeps parameters in clear
        "start": start,
        "end": end,
        "task_retries": task_retries,
        "resume": resume,
        "max_reject_ratio": max_reject_ratio,
        "master": master,
        "unknown_sku": unknown_sku,
        "export_to": export_to,
        "push": push,
        "velocity_zone": velocity_zone,
    }
    return run_and_report(sync_velocity, request, warehouse, as_json=report_as_json)


@app.command
def check_source(
    *,
    source: str,
    warehouse: str | None = None,
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
        The warehouse, as the API names it; none for a master's items.
    token_env
        The environment variable that holds the source's token.
    start
        The window's start in ISO 8601 with its zone. Default: an hour before its end.
    end
        The window's end, not in it. Default: the last whole hour that has settled.
    """

    async def run() -> SourceCheck:
        block = await find_source(source, token_env)
        if block.spec.items is None and not warehouse:
            raise ConfigurationError("--warehouse is missing: which warehouse's movements?")
        window = choose_window(block.spec, start, end, timedelta(minutes=10))
        return await try_source(block, warehouse or NO_WAREHOUSE, window)

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

    return _save(_with_limit(find_source(str(spec), token_env)), name)


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


@app.command
def save_engine(name: str, *, spec: Path, token_env: str = ENGINE_TOKEN_VARIABLE) -> int:
    """Store a slotting engine as a slotting-engine block, for deployments to name.

    Parameters
    ----------
    name
        The block's name: lower case, digits and dashes.
    spec
        The path of an engine's file (.yaml).
    token_env
        The environment variable that holds the engine's token, where it asks for one.
    """
    return _save(_with_limit(find_engine(str(spec), token_env)), name)


@app.command(name="migrate")
def migrate_store(*, store: str | None = None) -> int:
    """Bring a store's schema up to date.

    Parameters
    ----------
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    """

    async def run() -> str:
        return await migrate((await find_store(move_password_to_environment(store))).url.get_secret_value())

    print(f"schema version {asyncio.run(run())}")
    return 0


async def _with_limit(found: Coroutine[Any, Any, B]) -> B:
    """A block, once the limit is there that its pace names, where it names one."""
    block = await found
    if block.spec.pace.shared_limit:
        await create_shared_limit(block.spec.pace)
    return block


def _save(block: Coroutine[Any, Any, WmsSource | VelocityStore | SlottingEngine], name: str) -> int:
    async def run() -> None:
        try:
            await (await block).asave(name, overwrite=True)
        except ValidationError as error:
            raise ConfigurationError(f"{name} is no name for a block: {_reason(error)}") from error

    silence_prefect()
    asyncio.run(run())
    print(f"saved {name}")
    return 0


def _reason(error: ValidationError) -> str:
    return "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Gives its exit code; says what is wrong on one line of standard error."""
    try:
        return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except (CycloptsError, ConfigurationError, ParameterTypeError) as error:
        return _fail(str(error), WRONG_USAGE)
    except httpx.TransportError as error:  # the source's are all explained, and the store has none
        return _fail(f"the Prefect API at {PREFECT_API_URL.value()}: {error}", NOT_PUBLISHED)
    except STOPS as stop:
        return _fail(stop_message(stop), 128 + signal_of(stop))
    except Exception as error:  # the last line of defence: cron reads one line, not a traceback
        return _fail(f"{type(error).__name__}: {error}", NOT_PUBLISHED)


def _fail(reason: str, exit_code: int) -> int:
    errors.print(
        f"error: {printable(' '.join(reason.split()))}", markup=False, highlight=False, soft_wrap=True
    )
    return exit_code


if __name__ == "__main__":
    flush_and_exit(main())
