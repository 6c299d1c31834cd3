"""How a process ends: Prefect is told what it has not heard yet, but is not waited for without end."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import NoReturn

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

PATIENCE = 20.0  # seconds: with it, a process that is told to stop has gone within the 30 that most give


def flush_and_exit(exit_code: int) -> NoReturn:
    """End the process once Prefect's server has its last logs and states, or has not taken them in time.

    At the interpreter's own exit they would be sent again and again, for several seconds each, and where
    the server has gone a run of some hundred chunks would take an hour to end.
    """
    deadline = monotonic() + PATIENCE
    for worker in (APILogWorker, EventsWorker):
        left = worker.drain_all(timeout=max(0.0, deadline - monotonic()))
        if isinstance(left, tuple) and left[1]:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)
    sys.exit(exit_code)
