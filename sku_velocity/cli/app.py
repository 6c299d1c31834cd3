"""The command line for people and cron: `sku-velocity`, or `python -m sku_velocity`.

Each command is imported when it is used, so that none waits for what the others need.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from sku_velocity.process.garbage import relaxed_collection
from sku_velocity.text import option_name

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Command(NamedTuple):
    """A command: where its function is, and its help."""

    function: str
    help: str


COMMANDS = {
    "sync": Command(
        "sku_velocity.cli.sync:sync",
        """Read one window of one warehouse, prove it whole, and publish it; optionally export and push it.

        Exit code: 0 if the window was published (and pushed), 1 if not, 2 for bad usage or configuration,
        130 or 143 if stopped by SIGINT or SIGTERM.""",
    ),
    "backfill": Command(
        "sku_velocity.cli.backfill:backfill",
        """Read all windows between two instants that are not completely published. Continue after a failure.

        Exit code: 0 if no window is missing any more, 1 if one still is, 2 for bad usage or settings.""",
    ),
    "recheck": Command(
        "sku_velocity.cli.recheck:recheck",
        """Compare published windows with their source again, and publish those that have changed since.

        Exit code: 0, or 1 if a window could not be revised, 2 for bad usage or settings.""",
    ),
    "sync-master": Command(
        "sku_velocity.cli.sync:sync_master",
        """Read an ERP's items, prove that none is missing, and publish them as the master that maps SKUs.

        Exit code: 0 if the master was published, 1 if not, 2 for bad usage or settings.""",
    ),
    "draft": Command(
        "sku_velocity.cli.draft:draft",
        """Write a first spec of an API from its answers, and try it.

        Exit code: 0, or 1 if the draft cannot be read with yet, 2 for bad usage or settings.""",
    ),
    "check-source": Command(
        "sku_velocity.cli.check_source:check_source",
        """Read two pages of a source, show how each field is mapped, and advise on a more reliable spec.

        Exit code: 0, or 1 if no record would load or the paging is wrong, 2 for bad usage or settings.""",
    ),
    "status": Command(
        "sku_velocity.cli.status:status",
        """Show the status of each warehouse: last run, rows, rejects, lag, gaps, open runs, and next steps.

        It reads only the store. The exit code is 0 for every status.""",
    ),
    "dead-letters": Command(
        "sku_velocity.cli.dead_letters:app",
        "List, show, export, discard and redact dead letters: rejected records and rows.",
    ),
    "replay": Command(
        "sku_velocity.cli.replay:replay",
        """Revalidate open dead letters by the source's current spec, and publish those that are now valid.

        Exit code: 0, or 1 if a run could not be validated, 2 for bad usage or settings.""",
    ),
    "refresh-velocity": Command(
        "sku_velocity.cli.refresh_velocity:refresh_velocity",
        """Compute velocity figures, ABC and XYZ classes from the published movements, and write the reports.

        Exit code: 0 if all warehouses were refreshed, 1 if one was not, 2 for bad usage or settings.""",
    ),
    "compact": Command(
        "sku_velocity.cli.compact:compact",
        """Join the exported files of each UTC date that is over and published whole into one file.

        Exit code: 0 if all warehouses were compacted, 1 if one was not, 2 for bad usage or settings.""",
    ),
    "prune": Command(
        "sku_velocity.cli.prune:prune",
        """Delete superseded and abandoned runs, old velocity and, with Prefect, old artifacts.

        Exit code: 0 if all was deleted, 1 if interrupted (run it again), 2 for bad usage or settings.""",
    ),
    "presets": Command(
        "sku_velocity.cli.presets:presets",
        "List the presets that a spec file can start from (`preset: NAME`).",
    ),
    "schema": Command(
        "sku_velocity.cli.schema:schema",
        "Print the JSON Schema of a source's or an engine's file, from which editors complete it.",
    ),
    "migrate": Command(
        "sku_velocity.cli.store:migrate_store", "Migrate a store's schema to the latest version."
    ),
}


def make_app(program: str) -> App:
    """Return the application with the commands that need no Prefect."""
    app = App(
        name=program,
        help="Read SKU movements from a WMS or ERP window by window, prove each whole, and publish it.",
        version=lambda: version("sku-velocity"),
        console=Console(),
        error_console=Console(stderr=True),
        default_parameter=Parameter(negative="", name_transform=option_name),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, command in COMMANDS.items():
        app.command(command.function, name=name, help=command.help)
    return app


def execute(app: App, arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code. Print an error as one line on standard error."""
    try:
        return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except CycloptsError as error:
        return _fail(_usage_error(error), 2)
    except BaseException as error:
        # Imported here: without an error, `--help` needs none of them.
        from sku_velocity.cli.terminal import NOT_DONE, STOPS, WRONG_USAGE, signal_of, stop_message
        from sku_velocity.errors import ConfigurationError

        if isinstance(error, STOPS):
            return _fail(stop_message(error), 128 + signal_of(error))
        if isinstance(error, ConfigurationError):
            return _fail(str(error), WRONG_USAGE)
        if isinstance(error, Exception):  # the last resort: cron gets one line, not a traceback
            return _fail(describe(error), NOT_DONE)
        raise


def describe(error: Exception) -> str:
    """Return an error as one line. An unforeseen one has its type in front."""
    from sku_velocity.errors import VelocityError

    return str(error) if isinstance(error, VelocityError) else f"{type(error).__name__}: {error}"


def _usage_error(error: CycloptsError) -> str:
    """Return what is wrong with the options. pydantic names fields; a user knows options."""
    from pydantic import ValidationError

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error)
    faults = [(option_name(str(each["loc"][0])) if each["loc"] else "", each) for each in cause.errors()]
    return "; ".join(
        f"--{option}: {'is missing' if each['type'] == 'missing' else _not_allowed(each)}"
        for option, each in faults
    )


def _not_allowed(fault: ErrorDetails) -> str:
    return f"{fault['msg'].removeprefix('Value error, ')}, not {fault['input']!r}"


def _fail(reason: str, exit_code: int) -> int:
    from sku_velocity.text import printable

    line = f"error: {printable(' '.join(reason.split()))}"
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    return exit_code


def main() -> None:
    """Run the command that the process was started with, and exit."""
    # To find its plugins, pydantic would search all installed packages at each start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with relaxed_collection():  # what is imported stays
        sys.exit(execute(make_app("sku-velocity")))
