"""The log that operators read."""

import logging

from prefect.exceptions import MissingContextError
from prefect.logging.loggers import LoggingAdapter, get_logger, get_run_logger


def run_logger(name: str) -> logging.Logger | LoggingAdapter:
    """Return the run's logger, which the UI shows; outside a run, Prefect's logger of this name."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger(name)
