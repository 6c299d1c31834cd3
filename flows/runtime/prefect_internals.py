"""Prefect's internals that we use. They may change in any release of it.

No other module imports them. tests/flows/runtime/test_prefect_internals.py checks what we rely on of each.
"""

from __future__ import annotations

import logging
from time import monotonic
from types import ModuleType

from prefect.context import AsyncClientContext, FlowRunContext, SyncClientContext, TagsContext
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow, run_flow_async
from prefect.logging.handlers import APILogWorker, PrefectConsoleHandler
from prefect.task_engine import run_task_async, run_task_sync
from prefect.utilities.collections import StopVisiting, visit_collection

__all__ = [
    "AsyncClientContext",
    "StopVisiting",
    "SyncClientContext",
    "TagsContext",
    "deployment_models",
    "flush",
    "run_flow",
    "run_flow_async",
    "run_task_async",
    "run_task_sync",
    "silence_prefect",
    "visit_collection",
]

INTERNAL_LOGGER = "prefect._internal"
LOGGERS = ("prefect", INTERNAL_LOGGER, "prefect.flow_runs", "prefect.task_runs", "")


def flush(timeout: float) -> bool:
    """Send the server the remaining logs and events. Return False if some are left after `timeout` s."""
    deadline = monotonic() + timeout
    for worker in (APILogWorker, EventsWorker):
        drained = worker.drain_all(timeout=max(0.0, deadline - monotonic()))
        if isinstance(drained, tuple) and drained[1]:
            return False
    return True


def silence_prefect() -> None:
    """Keep Prefect's log off the terminal; its API still receives it."""
    # The internal logger and logging's own error output would print every line that the API did not receive.
    logging.raiseExceptions = False
    for name in LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if name == INTERNAL_LOGGER or isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)


def deployment_models() -> ModuleType:
    """Return the models by which `prefect deploy` reads prefect.yaml. Imported on use: it loads the CLI."""
    from prefect.cli.deploy import _models

    return _models


def is_outer_run() -> bool:
    """Return whether this is within a flow run that no other flow run has started."""
    run = FlowRunContext.get()
    return run is not None and run.flow_run is not None and run.flow_run.parent_task_run_id is None
