"""The commands that need Prefect: `init`, `notify`, `save-*`, which store blocks, and `sync-warehouses`."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from blocks.slotting import SlottingEngine, find_engine
from blocks.store import VelocityStore, find_store
from blocks.stored import load_token
from blocks.wms import WmsSource, find_source
from flows.init.command import init
from flows.runtime.notifications import save_notifications
from flows.sync_warehouses import fan_out
from sku_velocity.cli.backfill import print_outcome
from sku_velocity.cli.executor import current
from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform, show_message
from sku_velocity.errors import ConfigurationError
from sku_velocity.steps.access import ENGINE_TOKEN_VARIABLE, STORE_VARIABLE
from sku_velocity.steps.display import Listener
from sku_velocity.steps.requests import SyncWarehousesRequest

SILENT_HOURS = 26  # for daily windows, with two hours to spare
SilentHours = Annotated[float, Parameter(validator=Number(gt=0, lte=8_760))]


def add_commands(app: App) -> None:
    """Add the commands that need Prefect."""
    app.command(init)
    app.command(sync_warehouses)
    app.command(notify)
    for save in (save_source, save_store, save_engine):
        app.command(save)


def sync_warehouses(*, request: Annotated[SyncWarehousesRequest, FLAT], output: Output = TEXT) -> int:
    """Read one window of many warehouses, each in a deployment run of its own on any worker.

    Exit code: 0 if all were published, 1 if one was not, 2 for bad usage or settings. If this command is
    stopped, the runs that it started continue on their workers.
    """
    listener = Listener() if output.as_json else Listener(ended=print_outcome)
    return perform(fan_out, request, show_message, output, listener)


def save_source(
    name: str, *, spec: Path, token_env: str | None = None, token_secret: str | None = None
) -> int:
    """Save a source as a wms-source block for deployments.

    Parameters
    ----------
    name
        The block's name: lower case, digits and dashes.
    spec
        The path of a spec file (.yaml).
    token_env
        The environment variable that holds the source's token.
    token_secret
        The Secret block that holds the source's token instead. Each run reads it.
    """
    return _save(find_source(str(spec), token_env), name, token_secret)


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


def save_engine(
    name: str, *, spec: Path, token_env: str = ENGINE_TOKEN_VARIABLE, token_secret: str | None = None
) -> int:
    """Save a slotting engine as a slotting-engine block for deployments.

    Parameters
    ----------
    name
        The block's name: lower case, digits and dashes.
    spec
        The path of an engine's file (.yaml).
    token_env
        The environment variable that holds the engine's token, if it requires one.
    token_secret
        The Secret block that holds the engine's token instead. Each run reads it.
    """
    return _save(find_engine(str(spec), token_env), name, token_secret)


def notify(block: str, *, silent_hours: SilentHours = SILENT_HOURS) -> int:
    """Notify people through a block of runs that need them, late warehouses and silent sources.

    It creates an automation for each in the Prefect server. Run it again to update them; delete or disable
    them in the Prefect UI (Automations).

    Parameters
    ----------
    block
        The type and name of a block that can notify: slack-webhook/NAME, sendgrid-email/NAME,
        custom-webhook/NAME, webhook/NAME, and so on.
    silent_hours
        Notify if nothing of a source was published for these hours: longer than the longest time between
        two of its windows.
    """
    current().show_log(False)
    for name, done in current().run(save_notifications(block, silent_hours)):
        print(f"{done}: {name}")
    return 0


def _save(
    block: Coroutine[Any, Any, WmsSource | VelocityStore | SlottingEngine],
    name: str,
    token_secret: str | None = None,
) -> int:
    async def run() -> None:
        found = await block
        if token_secret is not None:
            await load_token(None, token_secret)  # an unknown one is reported now
            found = found.model_copy(update={"token": None, "token_secret": token_secret})
        try:
            await found.asave(name, overwrite=True)
        except ValidationError as error:
            reason = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
            raise ConfigurationError(f"invalid block name {name}: {reason}") from error

    current().show_log(False)
    current().run(run())
    print(f"saved {name}")
    return 0
