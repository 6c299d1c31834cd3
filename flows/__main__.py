"""The command line for people and cron: `python -m flows`, from the root of the checkout."""

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
    stop_message,
)
from flows.runtime.ownership import our_runs
from flows.runtime.prefect_internals import silence_prefect
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
    help="Read SKU movements from a WMS or ERP window by window, prove each whole, and publish it.",
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
    "flows.cli.refresh_velocity:refresh",  # imported on use: the other commands need no pandas
    name="refresh-velocity",
    help="""Compute velocity and its ABC and XYZ classes from the published movements, and write the reports.

    Exit code: 0 if all warehouses were refreshed, 1 if one was not, 2 for bad usage or configuration.""",
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
    accept_shrunk: Annotated[bool, Parameter(negative="")] = False,
    require_proof: Annotated[bool, Parameter(negative="")] = False,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
    export_to: str | None = None,
    push: str | None = None,
    velocity_zone: str | None = None,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read one window of one warehouse, prove it whole, and publish it; optionally export and push it.

    Exit code: 0 if the window was published (and pushed), 1 if not, 2 for bad usage or configuration,
    130 or 143 if stopped by SIGINT or SIGTERM.

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
        The window's start, in ISO 8601 with a time zone. Default: one hour before its end.
    end
        The window's end (exclusive). Default: the end of the last full hour that has settled.
    task_retries
        Retries per task after a temporary failure of the source or the store.
    resume
        The id of an earlier run to resume: read only the chunks that have not landed.
    max_reject_ratio
        Do not publish if a larger share of the records is rejected. The spec's limits take precedence.
    accept_shrunk
        Publish the window even if it loses more than half of the rows published there.
    require_proof
        Do not publish what cannot be proven whole: the verdict is then incomplete instead of unproven.
    master
        The name of the master's source, whose published items map the SKUs. Omit for no mapping.
    unknown_sku
        How to handle a movement whose SKU is unknown to the master, or retired.
    export_to
        A directory or a URL such as s3://bucket/path to export the window to, as Parquet. Omit for no export.
    push
        A slotting-engine block's name, or the path of an engine's file (.yaml), whose token is in
        $SKU_VELOCITY_ENGINE_TOKEN. Omit for no push.
    velocity_zone
        The warehouse's time zone, such as Europe/Berlin: refresh its velocity once the window is published.
        Omit for no refresh.
    report_as_json
        Print the report as JSON on the last line of standard output.
    verbose
        Also show Prefect's log.
    """
    if not verbose:
        silence_prefect()
    if export_to:
        Destination(export_to)  # checked before Prefect stores it
    request = {
        "source": source,
        "warehouse": warehouse,
        "token_env": token_env,
        "store": move_password_to_environment(store),  # Prefect stores parameters in plain text
        "start": start,
        "end": end,
        "task_retries": task_retries,
        "resume": resume,
        "max_reject_ratio": max_reject_ratio,
        "require_proof": require_proof,
        "accept_shrunk": accept_shrunk,
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
    """Read one page of a source, show how each field is mapped, and advise on a more reliable spec.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml).
    warehouse
        The warehouse, as the API names it. Omit for a master's items.
    token_env
        The environment variable that holds the source's token.
    start
        The window's start, in ISO 8601 with a time zone. Default: one hour before its end.
    end
        The window's end (exclusive). Default: the end of the last full hour that has settled.
    """

    async def run() -> None:
        block = await find_source(source, token_env)
        if block.spec.items is None and not warehouse:
            raise ConfigurationError("--warehouse is missing: name the warehouse whose movements to read")
        window = choose_window(block.spec, start, end, timedelta(minutes=10))
        await try_source(block, warehouse or NO_WAREHOUSE, window, Console())

    asyncio.run(run())
    return 0


@app.command
def presets() -> int:
    """List the presets that a spec file can start from (`preset: NAME`)."""
    print("\n".join(preset_names()))
    return 0


@app.command
def save_source(name: str, *, spec: Path, token_env: str | None = None) -> int:
    """Save a source as a wms-source block for deployments, and create its shared limit if it names one.

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
    """Save a database's address as a velocity-store block for deployments.

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
    """Save a slotting engine as a slotting-engine block for deployments.

    Parameters
    ----------
    name
        The block's name: lower case, digits and dashes.
    spec
        The path of an engine's file (.yaml).
    token_env
        The environment variable that holds the engine's token, if it requires one.
    """
    return _save(_with_limit(find_engine(str(spec), token_env)), name)


@app.command(name="migrate")
def migrate_store(*, store: str | None = None) -> int:
    """Migrate a store's schema to the latest version.

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
    """Return a block after creating the shared limit that its pace names, if any."""
    block = await found
    if block.spec.pace.shared_limit:
        await create_shared_limit(block.spec.pace)
    return block


def _save(block: Coroutine[Any, Any, WmsSource | VelocityStore | SlottingEngine], name: str) -> int:
    async def run() -> None:
        try:
            await (await block).asave(name, overwrite=True)
        except ValidationError as error:
            raise ConfigurationError(f"invalid block name {name}: {_reason(error)}") from error

    silence_prefect()
    asyncio.run(run())
    print(f"saved {name}")
    return 0


def _reason(error: ValidationError) -> str:
    return "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code. Print an error as one line on standard error."""
    try:
        with our_runs():
            return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except (CycloptsError, ConfigurationError, ParameterTypeError) as error:
        return _fail(str(error), WRONG_USAGE)
    except httpx.TransportError as error:  # only Prefect's: the source's are wrapped, and the store has none
        return _fail(f"the Prefect API at {PREFECT_API_URL.value()}: {error}", NOT_PUBLISHED)
    except STOPS as stop:
        return _fail(stop_message(stop), 128 + signal_of(stop))
    except Exception as error:  # the last resort: cron gets one line, not a traceback
        return _fail(f"{type(error).__name__}: {error}", NOT_PUBLISHED)


def _fail(reason: str, exit_code: int) -> int:
    errors.print(
        f"error: {printable(' '.join(reason.split()))}", markup=False, highlight=False, soft_wrap=True
    )
    return exit_code


if __name__ == "__main__":
    flush_and_exit(main())
