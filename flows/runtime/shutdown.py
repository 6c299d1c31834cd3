"""Process shutdown: send Prefect the remaining logs and states, within a time limit."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from flows.runtime.prefect_internals import flush

FLUSH_TIMEOUT = 20.0  # seconds, so that a process ends within the 30 s that most supervisors grant


def flush_and_exit(exit_code: int) -> NoReturn:
    """Exit once Prefect's server has received the last logs and states, or the timeout has passed.

    The interpreter's own exit would retry each of them for several seconds: with an unreachable server, a
    run of some hundred chunks would take an hour to end.
    """
    if not flush(FLUSH_TIMEOUT):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
