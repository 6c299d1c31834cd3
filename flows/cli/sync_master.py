"""`python -m flows sync-master`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.cli.terminal import move_password_to_environment, run_and_report
from flows.runtime.prefect_internals import silence_prefect
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
    accept_shrunk: Annotated[bool, Parameter(negative="")] = False,
    require_proof: Annotated[bool, Parameter(negative="")] = False,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read an ERP's items, prove that none is missing, and publish them as the master that maps SKUs.

    Exit code: 0 if the master was published, 1 if not, 2 for bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml) with `items`.
    token_env
        The environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    task_retries
        Retries per task after a temporary failure of the source or the store.
    resume
        The id of an earlier run to resume: read only the chunks that have not landed.
    max_reject_ratio
        Do not publish if a larger share of the items is rejected. The spec's limits take precedence.
    accept_shrunk
        Publish the master even if it loses more than half of its published items.
    require_proof
        Do not publish what cannot be proven whole: the verdict is then incomplete instead of unproven.
    report_as_json
        Print the report as JSON on the last line of standard output.
    verbose
        Also show Prefect's log.
    """
    if not verbose:
        silence_prefect()
    request = {
        "source": source,
        "token_env": token_env,
        "store": move_password_to_environment(store),  # Prefect stores parameters in plain text
        "task_retries": task_retries,
        "resume": resume,
        "max_reject_ratio": max_reject_ratio,
        "accept_shrunk": accept_shrunk,
        "require_proof": require_proof,
    }
    return run_and_report(sync_sku_master, request, "items", as_json=report_as_json)
