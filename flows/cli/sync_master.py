"""`python -m flows sync-master`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.cli.terminal import move_password_to_environment, run_and_report, silence_prefect
from flows.runtime.retries import TASK_RETRIES
from flows.sync_sku_master import sync_sku_master
from flows.tasks.window import MAX_REJECT_RATIO


def sync_master(
    *,
    source: str,
    token_env: str | None = None,
    store: str | None = None,
    task_retries: int = TASK_RETRIES,
    resume: str | None = None,
    max_reject_ratio: float = MAX_REJECT_RATIO,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read an ERP's items, prove that none is missing, publish them as the master that SKUs are mapped by.

    Ends with 0 where it was published, 1 where it was not, 2 on bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml) with `items`.
    token_env
        The environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    task_retries
        How often a task is run again whose other side was away.
    resume
        The id of an earlier run: read only what it has not landed.
    max_reject_ratio
        Publish nothing where a larger share of the items is rejected.
    report_as_json
        Print the report as JSON, in the last line of standard output.
    verbose
        Show Prefect's log as well.
    """
    if not verbose:
        silence_prefect()
    request = {
        "source": source,
        "token_env": token_env,
        "store": move_password_to_environment(store),  # Prefect keeps parameters in clear
        "task_retries": task_retries,
        "resume": resume,
        "max_reject_ratio": max_reject_ratio,
    }
    return run_and_report(sync_sku_master, request, "items", as_json=report_as_json)
